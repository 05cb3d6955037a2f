/** The cluster that the ring `cluster` made for the tests (cli/test-rings/cluster). */
import { execFile, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { KubeClient } from '../../../lib/kubernetes/client.ts';
import { hasStatus } from '../../../lib/kubernetes/errors.ts';
import { errorText } from '../../../lib/loam-error.ts';
import { PATIENCE } from '../../support/patience.ts';
import { pathOf, type KubeObject } from './resources.ts';

const WAIT_MS = 120_000 * PATIENCE;
const POLL_MS = 200;
const OUTPUT_MAX_BYTES = 32 << 20;
const MANAGER = 'loam-test';

export interface TestNode {
  readonly name: string;
  /** Its first process, as this machine numbers it. Another one after a restart of the node: ask again. */
  readonly init: number;
  /** Path of its network namespace. */
  readonly netns: string;
}

/** As much of a Pod as tests look at. */
export interface TestPod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly creationTimestamp: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly containerID?: string;
      readonly ready: boolean;
      readonly restartCount: number;
    }[];
  };
}

export class TestCluster {
  /** As a member of system:masters. */
  readonly client: KubeClient;
  /** Path of the kubeconfig of the same user. */
  readonly kubeconfig: string;
  readonly server: string;
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
    this.kubeconfig = join(dir, 'kubeconfig');
    this.server = this.#told('server');
    this.client = new KubeClient({
      server: this.server,
      caFile: join(dir, 'ca.crt'),
      credentials: {
        kind: 'certificate',
        certFile: join(dir, 'admin.crt'),
        keyFile: join(dir, 'admin.key'),
      },
    });
  }

  /** @throws Error outside the ring */
  static open(): TestCluster {
    const dir = process.env['LOAM_TEST_CLUSTER'];
    if (dir === undefined)
      throw new Error('LOAM_TEST_CLUSTER is not set: ./loam test cluster makes a cluster');
    return new TestCluster(dir);
  }

  #told(file: string): string {
    return readFileSync(join(this.#dir, file), 'utf8').trim();
  }

  get nodes(): readonly TestNode[] {
    return this.#told('nodes')
      .split('\n')
      .map((line) => {
        const [name = '', init = '', netns = ''] = line.split(' ');
        return { name, init: Number(init), netns };
      });
  }

  node(name: string | undefined): TestNode {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`there is no node ${name ?? '(none)'}`);
    return found;
  }

  /** Path of the network namespace of the bridge between the nodes, whose ports are called as they are. */
  get fabric(): string {
    return this.#told('network').split('\n')[0] ?? '';
  }

  /** Process id of a program of the control plane: `kube-apiserver`, `etcd`, … It is started again when it ends. */
  processId(name: string): number {
    const found = new RegExp(`^${name} (\\d+)$`, 'm').exec(this.#told('processes'))?.[1];
    if (found === undefined) throw new Error(`${name} is not running`);
    return Number(found);
  }

  /** A program of the cluster: `kubectl`, `ctr`. */
  program(name: string): string {
    return join(this.#told('programs'), name);
  }

  /** Makes the objects what they should be, as `kubectl apply --server-side` does. */
  async apply(...objects: readonly KubeObject[]): Promise<void> {
    for (const object of objects)
      await this.client.patch(pathOf(object), object, 'application/apply-patch+yaml', {
        fieldManager: MANAGER,
        force: true,
      });
  }

  /** Removes objects, and waits until they are gone. */
  async remove(...objects: readonly KubeObject[]): Promise<void> {
    for (const object of objects.toReversed())
      await this.client
        .delete(pathOf(object), { propagationPolicy: 'Background' })
        .catch((error: unknown) => {
          if (!hasStatus(error, 404)) throw error;
        });
    for (const object of objects)
      await this.until(`${object.kind} ${object.metadata.name} is gone`, () =>
        this.client.get(pathOf(object)).then(
          () => false,
          (error: unknown) => hasStatus(error, 404),
        ),
      );
  }

  /** Sets or takes away (null) labels. */
  async label(object: KubeObject, labels: Readonly<Record<string, string | null>>): Promise<void> {
    await this.client.patch(pathOf(object), { metadata: { labels } }, 'application/merge-patch+json');
  }

  /** Waits until something holds; what it throws meanwhile is told when the wait is over. */
  async until(what: string, holds: () => boolean | Promise<boolean>, waitMs = WAIT_MS): Promise<void> {
    const deadline = Date.now() + waitMs;
    let last: unknown;
    for (;;) {
      try {
        if (await holds()) return;
      } catch (error) {
        last = error;
      }
      if (Date.now() > deadline)
        throw new Error(
          `${what}: not so after ${waitMs / 1000} s${last === undefined ? '' : `: ${errorText(last)}`}`,
        );
      await sleep(POLL_MS);
    }
  }

  async pods(namespace: string, labelSelector = ''): Promise<TestPod[]> {
    const { items } = await this.client.get<{ items: TestPod[] }>(`/api/v1/namespaces/${namespace}/pods`, {
      labelSelector,
    });
    return items;
  }

  /** Waits for so many ready pods that a selector finds, none of them about to go. */
  async readyPods(namespace: string, labelSelector: string, count = 1): Promise<TestPod[]> {
    let found: TestPod[] = [];
    await this.until(`${count} pods ${labelSelector} of ${namespace} are ready`, async () => {
      found = (await this.pods(namespace, labelSelector)).filter(
        ({ metadata }) => metadata.deletionTimestamp === undefined,
      );
      return found.length === count && found.every(isReady);
    });
    return found;
  }

  /** What a container said. */
  log({ metadata }: TestPod, container = 'app'): Promise<string> {
    return this.client.text(`/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}/log`, {
      container,
    });
  }

  /** Runs a command on a node, in all of its namespaces. @returns what it prints */
  async onNode(node: string, command: readonly string[]): Promise<string> {
    const { stdout } = await promisify(execFile)('nsenter', [...this.#enter(node), ...command], {
      maxBuffer: OUTPUT_MAX_BYTES,
      env: this.#environment(),
    });
    return stdout;
  }

  /** Runs a command in a pod's container, in its cgroups, without the API server. @returns what it prints */
  async inPod(pod: TestPod, command: readonly string[]): Promise<string> {
    const { stdout } = await promisify(execFile)('nsenter', this.#exec(pod, command), {
      maxBuffer: OUTPUT_MAX_BYTES,
      env: this.#environment(),
    });
    return stdout;
  }

  /** As {@link inPod}, with its input and output. It is to end when its input ends. */
  startInPod(pod: TestPod, command: readonly string[]): ChildProcessWithoutNullStreams {
    return spawn('nsenter', this.#exec(pod, command), {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: this.#environment(),
    });
  }

  /** Kills the first container of a pod, by the runtime; the kubelet starts it again. */
  async kill({ metadata, spec, status }: TestPod): Promise<void> {
    const id = status.containerStatuses?.[0]?.containerID?.replace('containerd://', '');
    if (spec.nodeName === undefined || id === undefined)
      throw new Error(`pod ${metadata.namespace}/${metadata.name} runs nowhere`);
    const command = [this.program('ctr'), '-n', 'k8s.io', 'task', 'kill', '-s', 'SIGKILL', id];
    await this.onNode(spec.nodeName, command);
  }

  #enter(node: string): string[] {
    return ['-t', String(this.node(node).init), '-m', '-u', '-i', '-n', '-p', '-C', '--'];
  }

  #exec({ metadata, spec, status }: TestPod, command: readonly string[]): string[] {
    const id = status.containerStatuses?.[0]?.containerID?.replace('containerd://', '');
    if (spec.nodeName === undefined || id === undefined)
      throw new Error(`pod ${metadata.namespace}/${metadata.name} runs nowhere`);
    const name = `test-${process.pid}-${(execs += 1)}`;
    return [
      ...this.#enter(spec.nodeName),
      ...[this.program('ctr'), '-n', 'k8s.io', 'task', 'exec', '--exec-id', name, id],
      ...command,
    ];
  }

  /** The programs of the cluster first, as on a node. */
  #environment(): NodeJS.ProcessEnv {
    return { ...process.env, PATH: `${this.#told('programs')}:/usr/sbin:/sbin:${process.env['PATH'] ?? ''}` };
  }
}

let execs = 0;

function isReady({ status }: TestPod): boolean {
  return status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;
}
