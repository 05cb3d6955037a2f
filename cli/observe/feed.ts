import { setTimeout as sleep } from 'node:timers/promises';
import { FLOW_SCHEMA, type EventsWanted, type FlowRecord, type Hello } from '../../lib/flow/event.ts';
import { errorText } from '../../lib/loam-error.ts';
import { readFlowRecord } from './read-record.ts';

/** How often the list of producers is looked at: one that is new, or broke, is followed from then on. */
const LIST_INTERVAL_MS = 1_500;

/** A process that tells flows: a node's ztunnel, or an instance of a waypoint. */
export interface FlowProducer {
  /** Same name, same place: `ztunnel node-a`, `waypoint shop/waypoint-0`. */
  readonly name: string;
  /**
   * Reads its stream until it ends or the signal fires.
   *
   * @throws Error when it cannot be reached or breaks
   */
  follow(events: EventsWanted, signal: AbortSignal, onValue: (value: unknown) => void): Promise<void>;
}

export interface FlowFeedOptions {
  /** All that there are now; asked again and again. */
  readonly list: () => Promise<readonly FlowProducer[]>;
  readonly events: EventsWanted;
  readonly onRecord: (record: FlowRecord, producer: string) => void;
}

/** How one producer is. */
export interface ProducerState {
  readonly name: string;
  readonly connected: boolean;
  /** Why not, or what is odd. */
  readonly problem?: string;
  readonly hello?: Hello;
  /** What it told that it could not tell. */
  readonly lostEvents: number;
  readonly lostWindows: number;
}

interface Followed {
  name: string;
  connected: boolean;
  problem: string | undefined;
  hello: Hello | undefined;
  lostEvents: number;
  lostWindows: number;
}

/**
 * Follows the flow streams of a whole mesh: those that come are followed, those that break are asked again, and one that is
 * replaced is read to its end beside its successor. Where the streams come from is the caller's: `local-producers.ts` for a
 * local mesh.
 */
export class FlowFeed {
  readonly #options: FlowFeedOptions;
  readonly #over = new AbortController();
  readonly #states = new Map<string, Followed>();
  /** Names that have a reader, those apart that said they are being replaced. */
  readonly #following = new Set<string>();
  #listProblem: string | undefined;

  constructor(options: FlowFeedOptions) {
    this.#options = options;
  }

  /** Begins; returns when the producers were listed once. */
  async start(): Promise<void> {
    await this.#list();
    void this.#run();
  }

  close(): void {
    this.#over.abort();
  }

  /** Each producer that is known, and what is wrong with the list itself. */
  states(): { readonly producers: readonly ProducerState[]; readonly problem?: string } {
    const producers = [...this.#states.values()].map(
      ({ name, connected, problem, hello, lostEvents, lostWindows }): ProducerState => ({
        ...{ name, connected, lostEvents, lostWindows },
        ...(problem !== undefined && { problem }),
        ...(hello && { hello }),
      }),
    );
    return { producers, ...(this.#listProblem !== undefined && { problem: this.#listProblem }) };
  }

  async #run(): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      await sleep(LIST_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
      if (!signal.aborted) await this.#list();
    }
  }

  async #list(): Promise<void> {
    try {
      const producers = await this.#options.list();
      this.#listProblem = undefined;
      const names = new Set(producers.map(({ name }) => name));
      for (const name of this.#states.keys())
        if (!names.has(name) && !this.#following.has(name)) this.#states.delete(name);
      for (const producer of producers) if (!this.#following.has(producer.name)) void this.#follow(producer);
    } catch (error) {
      this.#listProblem = errorText(error);
    }
  }

  async #follow(producer: FlowProducer): Promise<void> {
    const { name } = producer;
    const before = this.#states.get(name);
    const state: Followed = {
      ...{ name, connected: false, problem: before?.problem, hello: undefined },
      ...{ lostEvents: before?.lostEvents ?? 0, lostWindows: before?.lostWindows ?? 0 },
    };
    this.#states.set(name, state);
    this.#following.add(name);
    let left = false;
    const leave = (): void => {
      if (!left) this.#following.delete(name);
      left = true;
    };
    try {
      await producer.follow(this.#options.events, this.#over.signal, (value) => {
        const record = readFlowRecord(value);
        if (record === undefined) return;
        this.#note(state, record);
        if (record.kind === 'leaving') leave();
        this.#options.onRecord(record, name);
      });
      state.problem = 'its stream ended';
    } catch (error) {
      state.problem = errorText(error);
    }
    state.connected = false;
    leave();
  }

  #note(state: Followed, record: FlowRecord): void {
    state.connected = true;
    switch (record.kind) {
      case 'hello':
        state.hello = record;
        state.problem =
          record.schema > FLOW_SCHEMA
            ? `speaks schema ${record.schema} of flows, this command ${FLOW_SCHEMA}: use a newer one`
            : undefined;
        return;
      case 'lost':
        state.lostEvents += record.events;
        state.lostWindows += record.windows;
        return;
      default:
    }
  }
}
