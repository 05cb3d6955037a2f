/** What the agent's process takes, by the names that prom-client gives in the other programs. */
import { readdirSync, readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';

const RESOLUTION_MS = 20;
const NS_PER_S = 1e9;
const US_PER_S = 1e6;
const MS_PER_S = 1_000;

/** One metric without labels. */
type Line = readonly [name: string, type: 'counter' | 'gauge', help: string, value: number];

export class SelfMetrics {
  readonly #version: string;
  readonly #startedAt = (Date.now() - process.uptime() * MS_PER_S) / MS_PER_S;
  readonly #maxDescriptors = maxDescriptors();
  readonly #delay: ReturnType<typeof monitorEventLoopDelay>;

  constructor(version: string) {
    this.#version = version;
    this.#delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.#delay.enable();
  }

  /** The lines of the page; the delay of the event loop is that since the last call. */
  text(): string {
    const { user, system } = process.cpuUsage();
    const memory = process.memoryUsage();
    const { max, mean, count } = this.#delay;
    this.#delay.reset();
    // Node gives no number for a mean of nothing, and a giant for a maximum of nothing.
    const [maxS, meanS] = count === 0 ? [0, 0] : [max / NS_PER_S, mean / NS_PER_S];
    const lines: Line[] = [
      ['process_start_time_seconds', 'gauge', 'When the process began.', this.#startedAt],
      ['process_cpu_seconds_total', 'counter', 'CPU time.', (user + system) / US_PER_S],
      ['process_resident_memory_bytes', 'gauge', 'Memory that is resident.', memory.rss],
      // The folder is open itself while it is read.
      ['process_open_fds', 'gauge', 'Open descriptors.', readdirSync('/proc/self/fd').length - 1],
      ['process_max_fds', 'gauge', 'Descriptors that it may have.', this.#maxDescriptors],
      ['nodejs_heap_size_used_bytes', 'gauge', 'Heap that is used.', memory.heapUsed],
      ['nodejs_heap_size_total_bytes', 'gauge', 'Heap that is taken.', memory.heapTotal],
      ['nodejs_external_memory_bytes', 'gauge', 'Memory outside of the heap.', memory.external],
      ['loam_heap_limit_bytes', 'gauge', 'Heap that it may take.', getHeapStatistics().heap_size_limit],
      ['nodejs_eventloop_lag_max_seconds', 'gauge', 'Longest delay since the last reading.', maxS],
      ['nodejs_eventloop_lag_mean_seconds', 'gauge', 'Mean delay since the last reading.', meanS],
    ];
    const build = [
      '# HELP istio_build The running version.',
      '# TYPE istio_build gauge',
      `istio_build{component="agent",tag="${this.#version}"} 1`,
    ];
    const own = lines.flatMap(([name, type, help, value]) => [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      `${name} ${value}`,
    ]);
    return `${[...build, ...own].join('\n')}\n`;
  }

  close(): void {
    this.#delay.disable();
  }
}

/** The soft limit of open descriptors; 0 where the kernel does not tell. */
function maxDescriptors(): number {
  return Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 0);
}
