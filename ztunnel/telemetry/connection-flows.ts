import type { ConnectionEnded, FlowFacts, Verdict } from '../../lib/flow/event.ts';
import { partyOf } from '../../lib/flow/party.ts';
import type { FlowRecorder, LiveFlow } from '../../lib/flow/recorder.ts';
import { parseHostPort, type HostPort } from '../../lib/mesh/hbone/host-port.ts';
import type { ResponseFlag } from '../../lib/mesh/hbone/proxy-error.ts';
import type { Flow } from './flow-labels.ts';

/** What is told of a connection. */
export interface ToldConnection {
  readonly id: number;
  readonly flow: Flow;
  readonly source: HostPort;
  /** `ip:port` as finally dialled. */
  readonly destinationAddress: string;
  /** What a CONNECT named, where it is not that. */
  readonly hboneAddress: string | undefined;
  /** The policy that let it in, or out; undefined: none applies. */
  readonly allowedBy: string | undefined;
  /** Policies on trial that match. */
  readonly trial: Verdict['trial'];
}

export interface ToldEnd {
  readonly opened: boolean;
  readonly durationMs: number;
  readonly up: number;
  readonly down: number;
  /** Since the last window. */
  readonly growth: readonly [up: number, down: number];
  readonly flag: ResponseFlag;
  readonly error: string | undefined;
  readonly policy: string | undefined;
}

/** Flags of what a rule forbids. */
const DENIALS: ReadonlySet<ResponseFlag> = new Set(['DENY', 'EGRESS', 'REGISTRY_ONLY']);

/** Tells the flow stream of connections; does nothing while nobody watches. */
export class ConnectionFlows {
  readonly #recorder: FlowRecorder;

  constructor(recorder: FlowRecorder) {
    this.#recorder = recorder;
  }

  opened(connection: ToldConnection): void {
    if (this.#recorder.level === 'off') return;
    const facts = factsOf(connection);
    this.#recorder.edge('connection', facts).opened += 1;
    this.#recorder.event(() => ({
      kind: 'opened',
      id: connection.id,
      at: Date.now(),
      ...facts,
      verdict: allowed(connection),
    }));
  }

  ended(connection: ToldConnection, end: ToldEnd): void {
    if (this.#recorder.level === 'off') return;
    const facts = factsOf(connection);
    const edge = this.#recorder.edge('connection', facts);
    const [up, down] = end.growth;
    edge.ended += 1;
    edge.up += up;
    edge.down += down;
    if (end.flag !== '-') edge.flags.add(end.flag);
    const isDenied = DENIALS.has(end.flag);
    if (isDenied) edge.denied.add(end.policy ?? '');
    else {
      edge.allowed.add(connection.allowedBy ?? '');
      if (end.flag !== '-' || !end.opened) edge.failed += 1;
      if (end.opened) edge.durations.add(end.durationMs);
    }
    this.#recorder.event((): ConnectionEnded => {
      const { policy } = end;
      const verdict: Verdict = isDenied
        ? {
            allowed: false,
            ...(policy !== undefined && { policy }),
            ...(end.error !== undefined && { reason: end.error }),
          }
        : allowed(connection);
      return {
        kind: 'ended',
        id: connection.id,
        at: Date.now(),
        ...facts,
        opened: end.opened,
        durationMs: Math.round(end.durationMs * 1000) / 1000,
        up: end.up,
        down: end.down,
        verdict,
        ...(end.flag !== '-' && { flag: end.flag }),
        ...(end.error !== undefined && { error: end.error }),
      };
    });
  }
}

/** A connection of the registry as the windows count it. */
export function liveFlow(connection: ToldConnection & { takeGrowth(): readonly [number, number] }): LiveFlow {
  return { facts: factsOf(connection), takeGrowth: () => connection.takeGrowth() };
}

function allowed({ allowedBy, trial }: ToldConnection): Verdict {
  return {
    allowed: true,
    ...(allowedBy !== undefined && { policy: allowedBy }),
    ...(trial !== undefined && trial.length > 0 && { trial }),
  };
}

function factsOf({ flow, source, destinationAddress, hboneAddress }: ToldConnection): FlowFacts {
  const { service } = flow;
  return {
    side: flow.reporter,
    source: partyOf(flow.source, flow.sourceIdentity, source),
    destination: partyOf(
      flow.destination,
      flow.destinationIdentity,
      parseHostPort(hboneAddress ?? destinationAddress),
    ),
    ...(service && { service: `${service.namespace}/${service.name || service.hostname}` }),
    mtls: flow.mutualTls,
    ...(flow.via !== undefined && { via: shortService(flow.via) }),
    ...(flow.viaIdentity !== undefined && { viaIdentity: flow.viaIdentity }),
  };
}

/** `shop/waypoint` of `shop/waypoint.shop.svc.cluster.local`. */
function shortService(key: string): string {
  return key.split('.', 1)[0] ?? key;
}
