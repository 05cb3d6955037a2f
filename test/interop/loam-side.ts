import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { siblingModule } from '../../lib/package-root.ts';
import { PATIENCE } from '../support/patience.ts';

/** One pod of the harness that Loam serves, and the "node" that it is on. */
export interface ServedPod {
  readonly side: 'client' | 'server';
  readonly netns: string;
  readonly ip: string;
  /** Where it has one. */
  readonly ip6?: string;
}

export type DualStackPod = ServedPod & { readonly ip6: string };

export interface LoamSidesOptions {
  /** Name of the run: part of BPF instances, so that two runs do not meet. */
  readonly name: string;
  /** All pods of the mesh: also those that another implementation serves. */
  readonly pods: readonly ServedPod[];
  /** The pods' sides that Loam serves. */
  readonly serve: readonly ('client' | 'server')[];
  /** An authority that all implementations trust. */
  readonly rootCert: string;
  readonly rootKey: string;
  /** Where the controller listens; every ztunnel of Loam reaches it over the machine's loopback. */
  readonly firstPort: number;
  readonly logLevel?: string;
}

const POLL_MS = 100;
const READY_TRIES = 200 * PATIENCE;

/** Waits until a condition holds; the error carries what it last saw. */
export async function until(
  what: string,
  holds: () => Promise<boolean> | boolean,
  tries = READY_TRIES,
): Promise<void> {
  for (let i = 0; i < tries; i++) {
    if (await holds()) return;
    await sleep(POLL_MS);
  }
  throw new Error(`waited ${(tries * POLL_MS) / 1000} s in vain for: ${what}`);
}

/**
 * Loam's own programs around the pods of the peers' harness: one controller, and an agent and a ztunnel
 * for each served side. The programs run in the machine's own network namespace, on loopback; the pods
 * are the harness's.
 */
export class LoamSides {
  readonly folder: string;
  readonly #children = new Map<string, ChildProcess>();
  readonly #options: LoamSidesOptions;

  constructor(options: LoamSidesOptions) {
    this.#options = options;
    this.folder = mkdtempSync(join(tmpdir(), `loam-${options.name}-`));
  }

  async start(): Promise<void> {
    const { pods, serve, firstPort } = this.#options;
    writeMesh(this.folder, pods);
    const controllerAddress = `127.0.0.1:${firstPort}`;
    this.#spawn('controller', '../../controller/main', [
      ...['--manifests', this.#file('manifests'), '--assignments', this.#file('assignments.json')],
      ...[
        '--state',
        this.#file('state'),
        '--root-cert',
        this.#options.rootCert,
        '--root-key',
        this.#options.rootKey,
      ],
      ...[
        '--listen',
        controllerAddress,
        '--status',
        this.#file('controller.sock'),
        '--tokens',
        this.#file('tokens.json'),
      ],
    ]);
    await until('the controller to write its root', () => this.#exists('state/root-cert.pem'));
    for (const pod of pods.filter((candidate) => serve.includes(candidate.side))) {
      const node = nodeOf(pod);
      const port = firstPort + (pod.side === 'client' ? 10 : 20);
      const zds = this.#file(`zds-${pod.side}.sock`);
      this.#spawn(`agent-${pod.side}`, '../../agent/main', [
        ...['--instance', `${this.#options.name}-${pod.side}`, '--node', node],
        ...[
          '--pods',
          this.#file(`pods-${pod.side}.json`),
          '--zds',
          zds,
          '--status',
          this.#file(`agent-${pod.side}.sock`),
        ],
      ]);
      this.#spawn(`ztunnel-${pod.side}`, '../../ztunnel/main', [
        ...['--node', node, '--zds', zds, '--log-level', this.#options.logLevel ?? 'info'],
        ...['--xds-address', `https://${controllerAddress}`, '--ca-address', `https://${controllerAddress}`],
        ...['--xds-root', this.#file('state/root-cert.pem'), '--ca-root', this.#file('state/root-cert.pem')],
        ...['--token', this.#file(`token-${pod.side}`), '--admin', `127.0.0.1:${port}`],
        ...['--metrics', `127.0.0.1:${port + 1}`, '--ready', `127.0.0.1:${port + 2}`],
      ]);
      await until(`ztunnel ${pod.side} to be ready (log: ${this.#file(`ztunnel-${pod.side}.log`)})`, () =>
        isReady(port + 2),
      );
    }
  }

  /** Process id of one program, for measuring. */
  pid(program: string): number {
    const pid = this.#children.get(program)?.pid;
    if (pid === undefined) throw new Error(`${program} is not running`);
    return pid;
  }

  log(program: string): string {
    return readFileSync(this.#file(`${program}.log`), 'utf8');
  }

  /** Stops every program and removes what the agents attached. */
  async stop(): Promise<void> {
    for (const child of this.#children.values()) child.kill('SIGTERM');
    for (const child of this.#children.values()) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const killer = setTimeout(() => child.kill('SIGKILL'), 8000);
      await gone;
      clearTimeout(killer);
    }
    this.#children.clear();
    for (const side of this.#options.serve) {
      const cleanup = this.#spawn(`cleanup-${side}`, '../../agent/main', [
        ...['--instance', `${this.#options.name}-${side}`, '--node', side, '--cleanup'],
        ...['--pods', this.#file(`pods-${side}.json`), '--zds', this.#file('z'), '--status', this.#file('s')],
      ]);
      const code = await new Promise((resolve) => cleanup.once('exit', resolve));
      if (code !== 0)
        throw new Error(`agent --cleanup ended with ${String(code)}: ${this.log(`cleanup-${side}`)}`);
    }
    this.#children.clear();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #file(name: string): string {
    return join(this.folder, name);
  }

  #exists(name: string): boolean {
    try {
      return readFileSync(this.#file(name)).length > 0;
    } catch {
      return false;
    }
  }

  #spawn(name: string, module: string, args: readonly string[]): ChildProcess {
    const log = openSync(this.#file(`${name}.log`), 'a');
    const child = spawn(process.execPath, [siblingModule(import.meta.url, module).pathname, ...args], {
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#children.set(name, child);
    return child;
  }
}

/** The node of the mesh that a pod is on. */
export function nodeOf(pod: ServedPod): string {
  return pod.side === 'client' ? 'node-a' : 'node-b';
}

function ipsOf({ ip, ip6 }: ServedPod): string[] {
  return ip6 === undefined ? [ip] : [ip, ip6];
}

function uidOf(pod: ServedPod): string {
  return pod.side === 'client'
    ? '00000000-0000-4000-8000-00000000000a'
    : '00000000-0000-4000-8000-00000000000b';
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/healthz/ready`)).status === 200;
  } catch {
    return false;
  }
}

/**
 * Writes the files of a mesh of the given pods: manifests, assignments, tokens, and for each side its pods.json
 * and its node's token.
 */
export function writeMesh(folder: string, pods: readonly ServedPod[]): void {
  const file = (name: string): string => join(folder, name);
  for (const folder of ['manifests', 'state']) mkdirSync(file(folder), { mode: 0o700, recursive: true });
  const documents = [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'default', labels: { 'loam.dev/dataplane-mode': 'ambient' } },
    },
    ...pods.map(({ side }) => ({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: side, namespace: 'default' },
    })),
    ...pods.map((pod) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: pod.side, namespace: 'default', labels: { app: pod.side } },
      spec: {
        nodeName: nodeOf(pod),
        serviceAccountName: pod.side,
        containers: [{ name: 'main', image: 'harness' }],
      },
    })),
  ];
  // JSON is YAML: one document a line.
  writeFileSync(
    file('manifests/mesh.yaml'),
    documents.map((document) => `---\n${JSON.stringify(document)}\n`).join(''),
  );
  const assigned = pods.map((pod) => [
    `default/${pod.side}`,
    { uid: uidOf(pod), ips: ipsOf(pod), node: nodeOf(pod), ready: true },
  ]);
  writeFileSync(
    file('assignments.json'),
    JSON.stringify({ pods: Object.fromEntries(assigned) as unknown, services: {} }),
  );
  const tokens = pods.map((pod) => ({ node: nodeOf(pod), token: randomBytes(24).toString('hex') }));
  writeFileSync(file('tokens.json'), JSON.stringify({ tokens }), { mode: 0o600 });
  for (const [index, pod] of pods.entries()) {
    writeFileSync(file(`token-${pod.side}`), tokens[index]?.token ?? '', { mode: 0o600 });
    const entry = {
      ...{ uid: uidOf(pod), name: pod.side, namespace: 'default', serviceAccount: pod.side },
      ...{ netns: pod.netns, ips: ipsOf(pod), labels: { app: pod.side } },
      namespaceLabels: { 'loam.dev/dataplane-mode': 'ambient' },
    };
    writeFileSync(file(`pods-${pod.side}.json`), JSON.stringify({ pods: [entry] }));
  }
}
