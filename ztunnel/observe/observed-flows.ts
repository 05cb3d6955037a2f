import type { FlowFacts } from '../../lib/flow/event.ts';
import { partyOf } from '../../lib/flow/party.ts';
import type { FlowRecorder, LiveFlow } from '../../lib/flow/recorder.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import type { ObserveBatch, ObservedFlow, ObservedPodFacts } from '../../lib/observe/record.ts';
import type { Flow } from '../telemetry/flow-labels.ts';
import type { FlowHandle, FlowMetrics } from '../telemetry/flow-metrics.ts';
import type { ObserveMetrics } from './observe-metrics.ts';

export interface ObservedFlowsOptions {
  readonly clusterId: string;
  readonly workloads: WorkloadStore;
  readonly metrics: FlowMetrics;
  readonly more: ObserveMetrics;
  readonly recorder: () => FlowRecorder;
}

/** A connection that is not over, as far as it was counted. */
interface Counted {
  readonly flow: Flow;
  readonly facts: FlowFacts;
  readonly handle: FlowHandle;
  opened: boolean;
  last: Pick<ObservedFlow, 'sent' | 'received' | 'retransmits' | 'segments'>;
  up: number;
  down: number;
}

const NOTHING = { sent: 0, received: 0, retransmits: 0, segments: 0 };

/** Gives observed connections their names, counts them as the mesh's own, and tells them on the flow stream. */
export class ObservedFlows {
  readonly #options: ObservedFlowsOptions;
  readonly #open = new Map<string, Counted>();

  constructor(options: ObservedFlowsOptions) {
    this.#options = options;
  }

  /** Those that are open, as the windows count them. */
  *live(): Generator<LiveFlow> {
    for (const counted of this.#open.values()) {
      if (!counted.opened) continue;
      yield { facts: counted.facts, takeGrowth: () => takeGrowth(counted) };
    }
  }

  /** Nobody tells of the open ones any more: another agent will begin anew. */
  reset(): void {
    for (const { handle, opened } of this.#open.values()) if (opened) handle.open -= 1;
    this.#open.clear();
  }

  /** Takes over what an agent told. */
  apply({ first, pods, flows, missed }: ObserveBatch): void {
    if (first) this.reset();
    const byUid = new Map(pods.map((pod) => [pod.uid, pod]));
    for (const flow of flows) {
      const pod = byUid.get(flow.pod);
      if (pod !== undefined) this.#take(flow, pod, first);
    }
    if (missed > 0) this.#options.more.missed(missed);
  }

  #take(told: ObservedFlow, pod: ObservedPodFacts, first: boolean): void {
    const { more } = this.#options;
    const isOver = told.state === 'closed' || told.state === 'failed';
    let counted = this.#open.get(told.id);
    if (counted === undefined) {
      counted = this.#begin(told, pod);
      if (first && !isOver) {
        // What it was before was counted by whoever read of it then.
        counted.last = told;
        counted.opened = told.state === 'open';
        if (counted.opened) counted.handle.open += 1;
      }
      this.#open.set(told.id, counted);
    }
    const { flow, handle, last } = counted;
    if (!counted.opened && (told.state === 'open' || told.state === 'closed')) {
      counted.opened = true;
      handle.opened();
      if (told.connectMs !== undefined) more.connected(flow, told.connectMs);
      this.#opened(told, counted);
    }
    const grown = (field: keyof typeof NOTHING): number => Math.max(0, told[field] - last[field]);
    const [up, down] =
      told.side === 'source' ? [grown('sent'), grown('received')] : [grown('received'), grown('sent')];
    if (up > 0) handle.request(up);
    if (down > 0) handle.response(down);
    more.segments(flow, grown('segments'), grown('retransmits'));
    counted.up += up;
    counted.down += down;
    const again = grown('retransmits');
    counted.last = told;
    const recorder = this.#options.recorder();
    if (recorder.level !== 'off') {
      const edge = recorder.edge('connection', counted.facts);
      edge.retransmits += again;
      if (told.rttMs !== undefined) edge.rtt.add(told.rttMs);
    }
    if (isOver) this.#end(told, counted);
  }

  #begin(told: ObservedFlow, pod: ObservedPodFacts): Counted {
    const { clusterId, workloads, metrics } = this.#options;
    const own = workloads.byUid(`${clusterId}//Pod/${pod.namespace}/${pod.name}`);
    const network = own?.network ?? '';
    const isSource = told.side === 'source';
    const { ip } = told.remote;
    const service = isSource ? workloads.serviceAt(network, ip, pod.namespace) : undefined;
    const other = service === undefined ? workloads.workloadAt(network, ip) : undefined;
    const flow: Flow = {
      reporter: told.side,
      source: isSource ? own : other,
      sourceIdentity: undefined,
      destination: isSource ? other : own,
      destinationIdentity: undefined,
      service,
      mutualTls: false,
    };
    // Of the client the port says nothing, and is another each time.
    const source = partyOf(flow.source, undefined, isSource ? told.local : told.remote);
    const destination = partyOf(flow.destination, undefined, isSource ? told.remote : told.local);
    const facts: FlowFacts = {
      ...{ side: told.side, source, destination, mtls: false, observed: true },
      ...(service && { service: `${service.namespace}/${service.name || service.hostname}` }),
    };
    const handle = metrics.handle(flow);
    return { flow, facts, handle, opened: false, last: NOTHING, up: 0, down: 0 };
  }

  #opened(told: ObservedFlow, { facts }: Counted): void {
    const recorder = this.#options.recorder();
    if (recorder.level === 'off') return;
    recorder.edge('connection', facts).opened += 1;
    recorder.event(() => ({
      ...{ kind: 'opened', id: Number(told.id), at: told.at, ...facts, verdict: { allowed: true } },
    }));
  }

  #end(told: ObservedFlow, counted: Counted): void {
    const { more } = this.#options;
    const { flow, facts, handle, opened } = counted;
    this.#open.delete(told.id);
    if (opened) handle.closed('-');
    else handle.failed('CONNECT');
    more.ended(flow, told.rttMs, told.reason);
    const recorder = this.#options.recorder();
    if (recorder.level === 'off') return;
    const edge = recorder.edge('connection', facts);
    const durationMs = Math.max(0, (told.endedAt ?? told.at) - told.at);
    const [up, down] = takeGrowth(counted);
    edge.ended += 1;
    edge.up += up;
    edge.down += down;
    if (opened) edge.durations.add(durationMs);
    else {
      edge.failed += 1;
      edge.flags.add('CONNECT');
    }
    const isSource = told.side === 'source';
    recorder.event(() => ({
      ...{ kind: 'ended', id: Number(told.id), at: told.endedAt ?? told.at, ...facts, opened, durationMs },
      up: isSource ? told.sent : told.received,
      down: isSource ? told.received : told.sent,
      verdict: { allowed: true },
      retransmits: told.retransmits,
      ...(told.rttMs !== undefined && { rttMs: told.rttMs }),
      ...(!opened && { flag: 'CONNECT' }),
      ...(told.reason !== undefined && {
        error: told.error === undefined ? told.reason : `${told.reason} (${told.error})`,
      }),
    }));
  }
}

function takeGrowth(counted: Counted): readonly [up: number, down: number] {
  const { up, down } = counted;
  counted.up = counted.down = 0;
  return [up, down];
}
