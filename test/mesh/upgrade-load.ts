import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { appFile, eventually, finished, jsonLines, loam, type Mesh } from './harness.ts';
import { namespaceManifest, podManifest, serviceManifest } from './manifests.ts';

export const ECHO_PORT = 7100;

/** What app/upgrade-load.mjs counted. */
export interface LoadCounts {
  /** New connections. */
  readonly made: number;
  readonly failed: number;
  readonly failures: Readonly<Record<string, number>>;
  /** Streams that were open all the time. */
  readonly streams: number;
  readonly cut: number;
  readonly cuts: readonly string[];
  /** That went through the streams, and came back. */
  readonly bytes: number;
}

export interface LoadOptions {
  /** That stay open. */
  readonly streams: number;
  /** New connections at a time. */
  readonly workers: number;
  /** Of each worker between two connections. */
  readonly pauseMs?: number;
  /** New connections; without it, as many as there is time for. */
  readonly limit?: number;
}

/** A pod that echoes, and the Service before it. */
export function echoManifest(name: string, node: string): string {
  return [
    podManifest(name, {
      node,
      commands: { server: `node ${appFile('upgrade-load.mjs')} server ${ECHO_PORT}` },
      ports: [ECHO_PORT],
    }),
    serviceManifest(name, name, { [ECHO_PORT]: ECHO_PORT }),
  ].join('---\n');
}

/** A client of app/upgrade-load.mjs, running in a pod. */
export class UpgradeLoad {
  readonly #child: ChildProcess;
  readonly #result: Promise<{ stdout: string; stderr: string }>;
  #said = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
    // Not finished(child, …): its input stays open until the load shall end.
    this.#result = Promise.all([
      collected(child.stderr),
      new Promise((resolve) => child.once('close', resolve)),
    ]).then(([stderr]) => ({ stdout: this.#said, stderr }));
  }

  static async start(
    mesh: Mesh,
    pod: string,
    host: string,
    { streams, workers, pauseMs = 0, limit }: LoadOptions,
  ): Promise<UpgradeLoad> {
    const args = [host, ECHO_PORT, streams, workers, pauseMs, ...(limit === undefined ? [] : [limit])].map(
      String,
    );
    const child = await mesh.spawn(pod, 'node', appFile('upgrade-load.mjs'), 'client', ...args);
    const load = new UpgradeLoad(child);
    await eventually(`the load of ${host}`, () => load.#said.includes('started'));
    return load;
  }

  /** Whether the limit of new connections is reached. */
  get enough(): boolean {
    return this.#said.includes('enough');
  }

  /** Ends it, lets the streams come to their ends, and reads what it counted. */
  async stop(): Promise<LoadCounts> {
    this.#child.stdin?.end();
    const { stdout, stderr } = await this.#result;
    const counts = jsonLines(stdout).find(
      (line): line is LoadCounts => typeof line === 'object' && line !== null && 'made' in line,
    );
    if (counts === undefined) throw new Error(`the load said nothing: ${stdout}${stderr}`);
    return counts;
  }
}

async function collected(stream: NodeJS.ReadableStream | null): Promise<string> {
  let text = '';
  for await (const chunk of stream ?? []) text += chunk.toString();
  return text;
}

/** As a user would: `loam local upgrade`. @returns its output @throws Error when it fails */
export async function upgrade(mesh: Mesh, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await finished(loam('local', 'upgrade', '--name', mesh.name, ...args));
  if (code !== 0) throw new Error(`loam local upgrade ended with ${code}: ${stdout}${stderr}`);
  return stdout;
}

/** What a test of an upgrade asks of its load; more is for the ring `upgrade`. */
export const SOME_LOAD = { streams: 5, workers: 2, pauseMs: 30 };

/** A client, and pods that echo: one on the other node and one on the same. */
export function upgradeManifests(): Record<string, string> {
  return {
    'namespace.yaml': namespaceManifest(),
    'client.yaml': podManifest('client'),
    'far.yaml': echoManifest('far', 'node-b'),
    'near.yaml': echoManifest('near', 'node-a'),
  };
}

/** Does something while a client calls a pod of the other node and one of the same: no connection may fail, no stream be cut. */
export async function loseNothing(mesh: Mesh, work: () => Promise<void>): Promise<void> {
  const loads = [
    await UpgradeLoad.start(mesh, 'client', 'far', SOME_LOAD),
    await UpgradeLoad.start(mesh, 'client', 'near', SOME_LOAD),
  ];
  try {
    await work();
  } finally {
    const results = await Promise.all(loads.map((load) => load.stop()));
    for (const result of results) {
      assert.deepEqual(
        [result.failed, result.cut, result.streams],
        [0, 0, SOME_LOAD.streams],
        JSON.stringify(result),
      );
      assert.ok(result.made > 10, JSON.stringify(result));
      assert.ok(result.bytes > 10_000, JSON.stringify(result));
    }
  }
}
