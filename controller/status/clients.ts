import { type Principal, principalText } from '../auth/principal.ts';
import { egressLabel } from '../compile/egress/compile.ts';
import type { CompiledMesh } from '../compile/mesh.ts';
import { resourceLabel } from '../compile/waypoints/part.ts';
import { keyOf } from '../compile/waypoints/world.ts';
import type { ClientStream } from '../xds/service.ts';
import { ADDRESS_TYPE, EGRESS_TYPE, type TypeUrl, WAYPOINT_TYPE } from '../xds/snapshot.ts';

/** What is known of one client of the controller. */
interface ClientReport {
  readonly connected: boolean;
  /** The newest generation that it is known to have, of all types. */
  readonly ackedGeneration: number;
  readonly streams: readonly ClientStream[];
  readonly lastSeen?: Date;
  /** Why it refused what it was sent, if it did. */
  readonly nacks: readonly string[];
}

export interface NodeReport extends ClientReport {
  readonly node: string;
}

export interface GatewayReport extends ClientReport {
  /** `<namespace>/<name>`. */
  readonly gateway: string;
  /** What its waypoint stands before: `Service shop/payments`. */
  readonly serves: readonly string[];
}

type LastSeen = (principal: Principal) => Date | undefined;

/** Nodes that run pods or have a stream. */
export function reportNodes(
  known: Iterable<string>,
  streams: readonly ClientStream[],
  lastSeen: LastSeen,
): NodeReport[] {
  const connected = streams.flatMap(({ principal }) => (principal.kind === 'node' ? [principal.node] : []));
  return [...new Set([...known, ...connected])].sort().map((node) => {
    const principal: Principal = { kind: 'node', node };
    const own = streamsOf(principal, streams);
    // Of several streams the newest counts: older ones belong to a ztunnel that is leaving.
    const newest = own.reduce<ClientStream | undefined>(
      (best, each) => (best === undefined || each.since > best.since ? each : best),
      undefined,
    );
    return { node, ...clientReport(own, newest === undefined ? [] : [newest], lastSeen(principal)) };
  });
}

/** Gateways that are waypoints or have a stream; all instances count. */
export function reportGateways(
  mesh: Pick<CompiledMesh, 'waypoints' | 'served'>,
  streams: readonly ClientStream[],
  lastSeen: LastSeen,
): GatewayReport[] {
  const connected = streams.flatMap(({ principal }) =>
    principal.kind === 'gateway' ? [principal.gateway] : [],
  );
  return [...new Set([...mesh.waypoints.keys(), ...connected])].sort().map((gateway) => {
    const principal: Principal = { kind: 'gateway', gateway };
    const own = streamsOf(principal, streams);
    const serves = (mesh.served.get(gateway) ?? []).map((service) => `${service.kind} ${keyOf(service)}`);
    return { gateway, serves: serves.sort(), ...clientReport(own, own, lastSeen(principal)) };
  });
}

function streamsOf(principal: Principal, streams: readonly ClientStream[]): ClientStream[] {
  const who = principalText(principal);
  return streams.filter((stream) => principalText(stream.principal) === who);
}

function clientReport(
  all: readonly ClientStream[],
  counting: readonly ClientStream[],
  lastSeen: Date | undefined,
): ClientReport {
  const types = counting.flatMap((stream) => stream.types);
  return {
    connected: all.length > 0,
    ackedGeneration:
      types.length === 0 ? 0 : Math.min(...types.map(({ ackedGeneration }) => ackedGeneration)),
    streams: all,
    ...(lastSeen === undefined ? {} : { lastSeen }),
    nacks: [...new Set(types.flatMap(({ nack }) => (nack === undefined ? [] : [nack])))],
  };
}

/** By resource as the status names it (`Authorization shop/allow`): who refused it, and why. */
export type Refusals = ReadonlyMap<string, readonly string[]>;

/** What clients refuse now. */
export function refusalsOf(streams: readonly ClientStream[]): Refusals {
  const all = new Map<string, string[]>();
  for (const { principal, types } of streams) {
    for (const { typeUrl, nack, refused = [] } of types) {
      if (nack === undefined) continue;
      for (const name of refused) {
        const label = labelOf(typeUrl, name, principal);
        const text = `refused by ${principalText(principal)}: ${nack}`;
        const texts = all.get(label);
        if (texts === undefined) all.set(label, [text]);
        else if (!texts.includes(text)) texts.push(text);
      }
    }
  }
  return all;
}

function labelOf(typeUrl: TypeUrl, name: string, principal: Principal): string {
  if (typeUrl === WAYPOINT_TYPE)
    return resourceLabel(principal.kind === 'gateway' ? principal.gateway : '', name);
  if (typeUrl === EGRESS_TYPE) return egressLabel(name);
  return typeUrl === ADDRESS_TYPE ? `Address ${name}` : `Authorization ${name}`;
}
