import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unpackedPackage } from '../../cli/test-rings/debian-packages.ts';
import { PATIENCE } from './patience.ts';

const START_TIMEOUT_MS = 60_000 * PATIENCE;
const STOP_TIMEOUT_MS = 10_000;
const HOUR_MS = 3_600_000;

/** The folder of Debian's prometheus and promtool. */
export async function prometheusPrograms(): Promise<string> {
  return join(await unpackedPackage('prometheus'), 'usr', 'bin');
}

/**
 * Runs promtool.
 *
 * @param input for its standard input
 * @returns its exit code and all that it wrote
 */
export async function promtool(
  args: readonly string[],
  input = '',
): Promise<{ code: number | null; output: string }> {
  const child = spawn(join(await prometheusPrograms(), 'promtool'), args, { stdio: 'pipe' });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

/** A target as Prometheus sees it. */
export interface PrometheusTarget {
  readonly labels: Readonly<Record<string, string>>;
  readonly health: 'up' | 'down' | 'unknown';
  readonly lastError: string;
}

/** One series of an instant query. */
export interface PrometheusSample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [time: number, value: string];
}

/** Exemplars of one series. */
export interface PrometheusExemplars {
  readonly seriesLabels: Readonly<Record<string, string>>;
  readonly exemplars: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly value: string;
    /** Seconds since the epoch. */
    readonly timestamp: number;
  }[];
}

/** Prometheus of the distribution, with a configuration of ours, on 127.0.0.1. */
export class Prometheus {
  readonly #child: ChildProcess;
  /** Its address, as `loam dashboard --prometheus` takes it. */
  readonly url: string;
  readonly #exited: Promise<unknown>;
  #log = '';

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
    this.#exited = once(child, 'exit');
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (this.#log.length < 65_536) this.#log += text;
    });
  }

  /**
   * @param folder where its configuration and data lie
   * @param config the configuration, as an object; JSON is YAML
   * @throws Error with its log when it does not come up
   */
  static async start(folder: string, config: object): Promise<Prometheus> {
    mkdirSync(folder, { recursive: true });
    const file = join(folder, 'prometheus.yaml');
    writeFileSync(file, JSON.stringify(config, null, 1));
    const port = await freePort();
    const child = spawn(
      join(await prometheusPrograms(), 'prometheus'),
      [
        `--config.file=${file}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--enable-feature=exemplar-storage',
      ],
      { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const prometheus = new Prometheus(child, `http://127.0.0.1:${port}`);
    try {
      await prometheus.#ready();
    } catch (error) {
      await prometheus.stop();
      throw error;
    }
    return prometheus;
  }

  /** What an instant query gives. @throws Error with what Prometheus says of a query that it refuses */
  async query(query: string): Promise<PrometheusSample[]> {
    const { result } = (await this.api('query', { query })) as { result: PrometheusSample[] };
    return result;
  }

  /** Exemplars of the series that an expression names, of the last hour. */
  async exemplars(query: string): Promise<PrometheusExemplars[]> {
    const [start, end] = [Date.now() - HOUR_MS, Date.now() + HOUR_MS].map((ms) => String(ms / 1_000));
    return (await this.api('query_exemplars', {
      query,
      start: start ?? '',
      end: end ?? '',
    })) as PrometheusExemplars[];
  }

  async targets(): Promise<PrometheusTarget[]> {
    const { activeTargets } = (await this.api('targets', { state: 'active' })) as {
      activeTargets: PrometheusTarget[];
    };
    return activeTargets;
  }

  /** Names of all metrics that it has. */
  async names(): Promise<string[]> {
    return (await this.api('label/__name__/values', {})) as string[];
  }

  /** `data` of an answer of /api/v1. */
  async api(path: string, query: Readonly<Record<string, string>>): Promise<unknown> {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(query).toString()}`);
    const answer = (await response.json()) as { status: string; error?: string; data?: unknown };
    if (answer.status !== 'success')
      throw new Error(`${JSON.stringify(query)}: ${answer.error ?? 'no data'}`);
    return answer.data;
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const kill = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(kill);
  }

  async #ready(): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    for (;;) {
      if (this.#child.exitCode !== null) throw new Error(`Prometheus ended:\n${this.#log}`);
      const answer = await fetch(`${this.url}/-/ready`).catch(() => undefined);
      if (answer?.ok === true) return;
      if (performance.now() > deadline) throw new Error(`Prometheus did not come up:\n${this.#log}`);
      await sleep(50);
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
