import { get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { FlowRecorder, type FlowBatch, type WatchLevel } from '../../lib/flow/recorder.ts';
import { errorText } from '../../lib/loam-error.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import { OBSERVE_SCHEMA, type ObserveBatch, type ObserveLine } from '../../lib/observe/record.ts';
import type { Log } from '../proxy/mesh.ts';
import { FlowMetrics, type MetricsBatch } from '../telemetry/flow-metrics.ts';
import type { ObserveMetrics } from './observe-metrics.ts';
import { ObservedFlows } from './observed-flows.ts';

const RETRY_MS = 1_000;
/** For names that were asked for, so long. */
const NAMES_WAIT_MS = 1_000;
/** Names asked for in the life of a process, where the node does not follow the whole mesh. */
const MAX_ASKED = 4_000;

export interface ObserveFollowerOptions {
  /** Of the status of the node's agent. */
  readonly socketPath: string;
  readonly clusterId: string;
  readonly workloads: WorkloadStore;
  /** Of two ztunnels of a node one counts: the one that serves. */
  readonly isServing: () => boolean;
  /** Asks the control plane for addresses; undefined: all are told anyway. */
  readonly ask: ((names: readonly string[]) => void) | undefined;
  readonly count: (batch: MetricsBatch) => void;
  readonly more: ObserveMetrics;
  readonly tell: (batch: FlowBatch) => void;
  readonly log: Log;
}

/**
 * Follows what the node's agent tells of observed pods (decision 0171), and gives it names, metrics and a place on the flow
 * stream: the agent knows neither the mesh nor Prometheus.
 */
export class ObserveFollower {
  readonly #options: ObserveFollowerOptions;
  readonly #metrics = new FlowMetrics();
  readonly #flows: ObservedFlows;
  readonly #recorder: FlowRecorder;
  readonly #asked = new Set<string>();
  #level: WatchLevel = 'off';
  #seen = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;
  #response: IncomingMessage | undefined;
  /** Batches one after the other, though one waits for names. */
  #queue: Promise<void> = Promise.resolve();

  constructor(options: ObserveFollowerOptions) {
    this.#options = options;
    this.#recorder = new FlowRecorder(options.tell, () => this.#flows.live());
    this.#flows = new ObservedFlows({
      ...options,
      metrics: this.#metrics,
      recorder: () => this.#recorder,
    });
  }

  start(): void {
    this.#retry(0);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#response?.destroy();
    this.#recorder.watch('off');
  }

  /** Somebody watches flows, or nobody does any more. */
  watch(level: WatchLevel): void {
    this.#level = level;
    // Where nothing is observed, no window is told beside the workers'.
    if (this.#seen || level === 'off') this.#recorder.watch(level);
  }

  #retry(delayMs = RETRY_MS): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      if (this.#options.isServing()) this.#connect();
      else this.#retry();
    }, delayMs).unref();
  }

  #connect(): void {
    const { socketPath, log } = this.#options;
    const request = get({ socketPath, path: '/observe', agent: false }, (response) => {
      this.#response = response;
      if (response.statusCode !== 200) {
        response.destroy();
        return this.#retry();
      }
      const lines = createInterface({ input: response });
      // It passes on what befalls its input: an agent that dies must not take the node's connections along.
      lines.on('error', () => undefined);
      lines.on('line', (line) => {
        if (!this.#options.isServing()) response.destroy();
        else this.#line(line);
      });
      response.on('error', () => undefined);
      response.on('close', () => {
        lines.close();
        this.#queue = this.#queue.then(() => this.#flows.reset());
        this.#retry();
      });
    });
    request.on('error', (error) => {
      log.debug('the agent tells nothing of observed pods', { error: errorText(error) });
      this.#retry();
    });
  }

  #line(text: string): void {
    const { log } = this.#options;
    try {
      const line = JSON.parse(text) as ObserveLine;
      if (line.kind === 'hello' && line.schema > OBSERVE_SCHEMA)
        log.warn('the agent tells of observed pods in a newer way', { schema: line.schema });
      if (line.kind !== 'batch') return;
      this.#queue = this.#queue
        .then(() => this.#take(line))
        .catch((error: unknown) =>
          log.warn('what was observed could not be counted', { error: errorText(error) }),
        );
    } catch (error) {
      log.warn('a line of the agent cannot be read', { error: errorText(error) });
    }
  }

  async #take(batch: ObserveBatch): Promise<void> {
    if (batch.flows.length === 0 && batch.missed === 0) return;
    if (!this.#seen) {
      this.#seen = true;
      this.watch(this.#level);
    }
    if (this.#askNames(batch)) await new Promise((resolve) => setTimeout(resolve, NAMES_WAIT_MS).unref());
    if (this.#stopped) return;
    this.#flows.apply(batch);
    this.#options.count(this.#metrics.takeBatch());
    this.#options.more.tidy();
  }

  /** @returns whether something is waited for */
  #askNames({ flows, pods }: ObserveBatch): boolean {
    const { ask, workloads, clusterId } = this.#options;
    if (ask === undefined) return false;
    const [first] = pods;
    const own = first && workloads.byUid(`${clusterId}//Pod/${first.namespace}/${first.name}`);
    const network = own?.network ?? '';
    const names = new Set<string>();
    for (const { remote } of flows) {
      const name = `${network}/${remote.ip}`;
      if (this.#asked.has(name) || this.#asked.size >= MAX_ASKED) continue;
      if (workloads.byAddress(network, remote.ip) !== undefined) continue;
      this.#asked.add(name);
      names.add(name);
    }
    if (names.size > 0) ask([...names]);
    return names.size > 0;
  }
}
