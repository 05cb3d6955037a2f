/** Traffic through a scenario: streams that stay open and new connections all the time, every byte compared. */
import assert from 'node:assert/strict';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { deployment, script, service } from './apps.ts';
import type { TestCluster, TestPod } from './cluster.ts';
import type { KubeObject } from './resources.ts';

const APP = 'mesh/app/upgrade-load.mjs';
export const ECHO_PORT = 7100;

/** What the client of test/mesh/app/upgrade-load.mjs counted. */
export interface LoadCounts {
  /** New connections. */
  readonly made: number;
  readonly failed: number;
  readonly failures: Readonly<Record<string, number>>;
  /** That were open all the time, and of them those that did not end whole. */
  readonly streams: number;
  readonly cut: number;
  readonly cuts: readonly string[];
  readonly bytes: number;
}

/** A server that gives back what it gets, and the Service before it. */
export function echo(ns: string, name: string, node?: string, replicas = 1): readonly KubeObject[] {
  return [
    deployment(ns, name, {
      command: script(APP, 'server', String(ECHO_PORT)),
      ...(node === undefined ? {} : { node }),
      replicas,
      // On a busy machine a probe may be late; a Service without a ready pod would refuse connections.
      container: {
        readinessProbe: { tcpSocket: { port: ECHO_PORT }, periodSeconds: 1, failureThreshold: 60 },
      },
    }),
    service(ns, name, { ports: [{ name: 'echo', port: ECHO_PORT }] }),
  ];
}

export class Load {
  readonly #cluster: TestCluster;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #closed: Promise<unknown>;
  #out = '';
  #err = '';

  private constructor(cluster: TestCluster, child: ChildProcessWithoutNullStreams) {
    this.#cluster = cluster;
    this.#child = child;
    child.stdout.on('data', (chunk: Buffer) => (this.#out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (this.#err += chunk.toString()));
    this.#closed = once(child, 'close');
  }

  /**
   * Begins in a pod.
   *
   * @param host name or address of the server
   * @param options streams that stay open; new connections at a time, and the pause of each before its next, in ms; how many
   *   connections it makes, for {@link enough}: without end, unless given
   */
  static async start(
    cluster: TestCluster,
    pod: TestPod,
    host: string,
    options: {
      readonly streams?: number;
      readonly workers?: number;
      readonly pauseMs?: number;
      readonly connections?: number;
    } = {},
  ): Promise<Load> {
    const { streams = 20, workers = 2, pauseMs = 20, connections } = options;
    if (streams > 0) await Load.reaches(cluster, pod, host);
    const args = [
      host,
      ECHO_PORT,
      streams,
      workers,
      pauseMs,
      ...(connections === undefined ? [] : [connections]),
    ].map(String);
    const load = new Load(cluster, cluster.startInPod(pod, script(APP, 'client', ...args)));
    const begun = streams > 0 ? '"open"' : '"started"';
    let hasEnded = false;
    void load.#closed.then(() => (hasEnded = true));
    await cluster.until(`the load on ${host} runs`, () => hasEnded || load.#out.includes(begun));
    assert.ok(load.#out.includes(begun), `the load on ${host} ended: ${load.#out}${load.#err}`);
    return load;
  }

  /**
   * Waits until a pod gets an answer there. A ready pod of a new Service is not yet an endpoint for everybody: where the node's kube-proxy has
   * no rule for it yet, a SYN goes nowhere, and so do its repetitions after the rule has come, since the kernel takes them for the same
   * flow. That holds for two minutes, with or without a mesh; each try here is another flow.
   */
  static reaches(cluster: TestCluster, pod: TestPod, host: string): Promise<void> {
    const code = `require('net').connect(${ECHO_PORT}, '${host}', function () { this.write('x'); })
      .on('data', () => process.exit(0)).on('error', () => process.exit(1)).on('end', () => process.exit(1))
      .setTimeout(1000, () => process.exit(2))`;
    return cluster.until(`${pod.metadata.name} reaches ${host}`, async () => {
      await cluster.inPod(pod, ['/usr/local/bin/node', '-e', code]);
      return true;
    });
  }

  /** Waits until it has made as many connections as it was told to. */
  enough(): Promise<void> {
    return this.#cluster.until('the load has made its connections', () => this.#out.includes('"enough"'));
  }

  /** Ends it in good order. @returns what it counted */
  async stop(): Promise<LoadCounts> {
    this.#child.stdin.end();
    // Timers of its own let it end only later; when it has said its counts it is done.
    await Promise.race([
      this.#closed,
      this.#cluster.until('the load has ended', () => this.#out.includes('"made"')),
    ]);
    const last = this.#out.trim().split('\n').at(-1) ?? '';
    assert.ok(last.includes('"made"'), `the load ended without counts: ${this.#out}${this.#err}`);
    return JSON.parse(last) as LoadCounts;
  }

  /** Ends it, and says that nothing of it failed. @param afterMs how long it goes on before */
  async stopWhole(afterMs = 0): Promise<LoadCounts> {
    await sleep(afterMs);
    const counts = await this.stop();
    const { made, failed, cut, failures, cuts } = counts;
    assert.ok(made > 10, `${made} connections`);
    assert.deepEqual({ failed, cut, failures, cuts }, { failed: 0, cut: 0, failures: {}, cuts: [] });
    return counts;
  }
}
