import type { ServerResponse } from 'node:http';
import { errorText } from '../../lib/loam-error.ts';
import {
  OBSERVE_SCHEMA,
  type ObservedFlow,
  type ObservedPodFacts,
  type ObserveLine,
} from '../../lib/observe/record.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { flowOf } from './observed-flow.ts';
import type { ObservedPod } from './observe-keeper.ts';
import type { ObservePort } from './observe-port.ts';

/** The kernel is read so often while a pod is observed. */
export const READ_MS = 1_000;
/** Connections that are over and that nobody has read of; the oldest are forgotten first. */
const MAX_UNREAD = 4_096;
/** A reader that lets more wait is given up: it begins anew. */
const MAX_WAITING_BYTES = 8 << 20;
const MAX_READERS = 4;

/** What was seen of a pod since this process began. */
export interface PodTotals {
  opened: number;
  closed: number;
  failed: number;
  sent: number;
  received: number;
  retransmits: number;
  /** Failed and cut ones, by reason. */
  readonly reasons: Record<string, number>;
}

export interface ObserveFeedOptions {
  readonly node: string;
  readonly port: ObservePort;
  readonly pods: () => ReadonlyMap<string, ObservedPod>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Reads what the kernel saw of observed pods, sums it up, and tells it on to whoever follows. */
export class ObserveFeed {
  readonly #options: ObserveFeedOptions;
  readonly #readers = new Set<{ readonly response: ServerResponse; first: boolean }>();
  /** Those that are not over, by id. */
  readonly #live = new Map<string, ObservedFlow>();
  #unread: ObservedFlow[] = [];
  readonly #totals = new Map<string, PodTotals>();
  #missed = 0;
  #timer: Disposable | undefined;
  #problem: string | undefined;

  constructor(options: ObserveFeedOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** Why the kernel could not be read the last time. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Connections of a pod that are open or being made. */
  liveOf(uid: string): ObservedFlow[] {
    return [...this.#live.values()].filter(({ pod }) => pod === uid);
  }

  totalsOf(uid: string): PodTotals {
    let totals = this.#totals.get(uid);
    if (totals === undefined) {
      totals = { opened: 0, closed: 0, failed: 0, sent: 0, received: 0, retransmits: 0, reasons: {} };
      this.#totals.set(uid, totals);
    }
    return totals;
  }

  /** Tells a reader all that is open, what ended unread, and from then on what happens. @returns false: too many already */
  serve(response: ServerResponse): boolean {
    if (this.#readers.size >= MAX_READERS) return false;
    const reader = { response, first: true };
    response.on('error', () => undefined);
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    write(response, { kind: 'hello', schema: OBSERVE_SCHEMA, node: this.#options.node });
    response.on('close', () => this.#readers.delete(reader));
    this.#readers.add(reader);
    this.read();
    return true;
  }

  close(): void {
    this.#timer?.[Symbol.dispose]();
    for (const { response } of this.#readers) response.end();
  }

  /** Reads once. Never throws. */
  read(): void {
    try {
      this.#read();
      this.#problem = undefined;
    } catch (error) {
      const problem = errorText(error);
      if (problem !== this.#problem) this.#options.log.error({ problem }, 'what was observed cannot be read');
      this.#problem = problem;
    }
  }

  #schedule(): void {
    this.#timer = this.#options.clock.after(READ_MS, () => {
      this.read();
      this.#schedule();
    });
  }

  #read(): void {
    const { port, pods } = this.#options;
    if (!port.inForce && this.#live.size === 0 && this.#readers.size === 0) return;
    const uids = new Map([...pods()].map(([uid, { cookie }]) => [cookie, uid]));
    const now = { ns: process.hrtime.bigint(), ms: Date.now() };
    const flows: ObservedFlow[] = [];
    for (const connection of port.read()) {
      const uid = uids.get(connection.netns);
      if (uid !== undefined) flows.push(flowOf(connection, uid, now));
    }
    for (const flow of flows) this.#count(flow);
    this.#forgetGone(new Set(uids.values()));
    const refused = [...port.refused().values()].reduce((sum, each) => sum + each, 0);
    const missed = Math.max(0, refused - this.#missed);
    this.#missed = refused;
    this.#tell(flows, missed);
  }

  #count(flow: ObservedFlow): void {
    const { id, pod, state } = flow;
    const before = this.#live.get(id);
    const totals = this.totalsOf(pod);
    const wasOpen = before?.state === 'open';
    if (!wasOpen && (state === 'open' || state === 'closed')) totals.opened += 1;
    if (state === 'closed') totals.closed += 1;
    if (state === 'failed') totals.failed += 1;
    if (flow.reason !== undefined) totals.reasons[flow.reason] = (totals.reasons[flow.reason] ?? 0) + 1;
    totals.sent += Math.max(0, flow.sent - (before?.sent ?? 0));
    totals.received += Math.max(0, flow.received - (before?.received ?? 0));
    totals.retransmits += Math.max(0, flow.retransmits - (before?.retransmits ?? 0));
    if (state === 'closed' || state === 'failed') this.#live.delete(id);
    else this.#live.set(id, flow);
  }

  /** Of pods that are not observed any more. */
  #forgetGone(uids: ReadonlySet<string>): void {
    for (const [id, { pod }] of this.#live) if (!uids.has(pod)) this.#live.delete(id);
    for (const uid of this.#totals.keys()) if (!uids.has(uid)) this.#totals.delete(uid);
  }

  #tell(flows: readonly ObservedFlow[], missed: number): void {
    const isOver = ({ state }: ObservedFlow): boolean => state === 'closed' || state === 'failed';
    if (this.#readers.size === 0) {
      this.#unread = [...this.#unread, ...flows.filter(isOver)].slice(-MAX_UNREAD);
      return;
    }
    const at = Date.now();
    for (const reader of this.#readers) {
      if (reader.response.writableLength > MAX_WAITING_BYTES) {
        reader.response.destroy();
        continue;
      }
      const { first } = reader;
      reader.first = false;
      const told = first ? [...this.#live.values(), ...this.#unread, ...flows.filter(isOver)] : flows;
      if (!first && told.length === 0 && missed === 0) continue;
      write(reader.response, { kind: 'batch', at, first, pods: this.#facts(told), flows: told, missed });
    }
    this.#unread = [];
  }

  #facts(flows: readonly ObservedFlow[]): ObservedPodFacts[] {
    const uids = new Set(flows.map(({ pod }) => pod));
    return [...this.#options.pods().values()]
      .filter(({ spec }) => uids.has(spec.uid))
      .map(({ spec: { uid, namespace, name, serviceAccount } }) => ({
        ...{ uid, namespace, name, account: serviceAccount },
      }));
  }
}

function write(response: ServerResponse, line: ObserveLine): void {
  response.write(`${JSON.stringify(line)}\n`);
}
