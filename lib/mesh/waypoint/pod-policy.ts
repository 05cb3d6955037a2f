import { denialOfClient } from '../policy/evaluate.ts';
import type { PolicyStore } from '../state/policy-store.ts';
import type { BackendEndpoint } from './backend-endpoints.ts';
import type { Source } from './request.ts';

/**
 * Whether a DENY at the pod means this client. The pod's node sees the waypoint as the peer, so that a DENY by identity or
 * address would be passed by way of the waypoint: here it is asked on behalf of the true client
 * (docs/decisions/0073). Pods behind another waypoint are that one's to judge.
 */
export function denialAtPod(
  policies: PolicyStore,
  { path, workload }: Pick<BackendEndpoint, 'path' | 'workload'>,
  source: Pick<Source, 'ip' | 'identity'>,
): { readonly policy: string; readonly reason: string } | undefined {
  const { target } = path;
  if (!workload.addresses.includes(target.ip)) return undefined;
  return denialOfClient(policies, workload, {
    sourceIdentity: source.identity,
    sourceIp: source.ip,
    destIp: target.ip,
    destPort: target.port,
  });
}
