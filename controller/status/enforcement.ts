import type { EgressPlan } from '../compile/egress/compile.ts';
import type { Condition, Outcome } from '../compile/outcomes.ts';
import type { ClientStream } from '../xds/service.ts';
import { EGRESS_TYPE } from '../xds/snapshot.ts';

/** How far one node's proxy is with the egress rules. */
type NodeState =
  | { readonly state: 'enforced' }
  /** It follows the mesh and has not asked for egress rules. */
  | { readonly state: 'foreign'; readonly clientId: string }
  | { readonly state: 'away' }
  | { readonly state: 'behind' }
  | { readonly state: 'refused'; readonly reason: string };

/**
 * Adds to the outcomes of what must be enforced at the source whether each node's proxy does so: a condition `Enforced`,
 * and a warning that names each node whose proxy is not Loam's. Known by what the proxy asks for, not by what it calls
 * itself: Istio's never asks for Loam's own type.
 *
 * @param generation the newest state that nodes should come to have
 */
export function withEnforcement(
  outcomes: ReadonlyMap<string, Outcome>,
  { enforcers }: EgressPlan,
  streams: readonly ClientStream[],
  generation: number,
): Map<string, Outcome> {
  const all = new Map(outcomes);
  for (const [key, nodes] of enforcers) {
    const outcome: Outcome = all.get(key) ?? { state: 'accepted', message: '', compiledTo: [] };
    const states = [...nodes].sort().map((node) => ({ node, ...stateOf(node, streams, generation) }));
    const foreign = states.flatMap((each) => (each.state === 'foreign' ? [each] : []));
    const warnings = foreign.map(
      ({ node, clientId }) =>
        `not enforced on node ${node}: its proxy is not Loam's (${JSON.stringify(clientId)} does not ask for egress rules)`,
    );
    all.set(key, {
      ...outcome,
      message: [outcome.message, ...warnings].filter((text) => text !== '').join('; '),
      conditions: [...(outcome.conditions ?? []), condition(states)],
      ...(warnings.length > 0 && { warnings: [...(outcome.warnings ?? []), ...warnings] }),
    });
  }
  return all;
}

function stateOf(node: string, streams: readonly ClientStream[], generation: number): NodeState {
  const own = streams.filter(({ principal }) => principal.kind === 'node' && principal.node === node);
  // Of several streams the newest counts: older ones belong to a ztunnel that is leaving.
  const newest = own.reduce<ClientStream | undefined>(
    (best, each) => (best === undefined || each.since > best.since ? each : best),
    undefined,
  );
  if (newest === undefined) return { state: 'away' };
  const egress = newest.types.find(({ typeUrl }) => typeUrl === EGRESS_TYPE);
  if (egress === undefined)
    return newest.types.length === 0 ? { state: 'behind' } : { state: 'foreign', clientId: newest.clientId };
  if (egress.nack !== undefined) return { state: 'refused', reason: egress.nack };
  return { state: egress.ackedGeneration < generation ? 'behind' : 'enforced' };
}

function condition(states: readonly (NodeState & { readonly node: string })[]): Condition {
  const text = (each: (typeof states)[number]): string => {
    switch (each.state) {
      case 'enforced':
        return `enforced on ${each.node}`;
      case 'foreign':
        return `not enforced on ${each.node}, whose proxy is not Loam's`;
      case 'away':
        return `${each.node} is not connected, and enforces what it was told last`;
      case 'behind':
        return `${each.node} is being told`;
      case 'refused':
        return `refused by ${each.node}, where the former state is in force: ${each.reason}`;
    }
  };
  const worst = (['foreign', 'refused', 'away', 'behind'] as const).find((state) =>
    states.some((each) => each.state === state),
  );
  const reasons = { foreign: 'ProxyNotLoam', refused: 'Refused', away: 'NotConnected', behind: 'Pending' };
  return {
    type: 'Enforced',
    status: worst === undefined ? 'True' : 'False',
    reason: worst === undefined ? 'Enforced' : reasons[worst],
    message: states.map(text).join('; '),
  };
}
