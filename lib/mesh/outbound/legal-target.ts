import { hostPortText, type HostPort } from '../hbone/host-port.ts';
import { ipScope, isIpv6 } from '../state/ip.ts';

/** Ports of the mesh itself (ambient-facts C1): never a destination that is carried, so that nothing can loop. */
export const ILLEGAL_PORTS: ReadonlySet<number> = new Set([15001, 15006, 15008, 15080]);

/** Why a node's tunnel carries nothing to a target, since it could only come back to it; undefined: it does. */
export function whyIllegal(target: HostPort): string | undefined {
  if (ILLEGAL_PORTS.has(target.port)) return `port ${target.port} belongs to the mesh`;
  const scope = ipScope(target.ip);
  // 169.254/16 passes: clouds have their metadata there. An IPv6 link-local address means nothing without its interface,
  // which the redirection does not keep.
  const passes = scope === 'global' || (scope === 'link-local' && !isIpv6(target.ip));
  return target.port >= 1 && passes
    ? undefined
    : `${hostPortText(target)} cannot be reached through the mesh`;
}
