/** A whole Kubernetes cluster on this machine: its control plane and two nodes, each a set of namespaces. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KubeClient } from '../../../lib/kubernetes/client.ts';
import { errorText } from '../../../lib/loam-error.ts';
import { siblingModule } from '../../../lib/package-root.ts';
import { LogFile } from '../../local/log-file.ts';
import { ManagedProcess } from '../../local/managed-process.ts';
import { netnsPath } from '../../local/names.ts';
import { childrenOf, MESH_MARKER, ProcessRecords } from '../../local/process-record.ts';
import { makeGroups, removeGroups } from './cgroups.ts';
import { makeCertificates } from './certificates.ts';
import {
  apiServerCommand,
  controllerManagerCommand,
  etcdCommand,
  schedulerCommand,
} from './control-plane.ts';
import { COREDNS_OBJECTS } from './coredns.ts';
import { ClusterError } from './errors.ts';
import { forward } from './forward.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { buildNetwork, removeNetwork, routeToPods } from './network.ts';
import { nodeScript } from './node-script.ts';
import { ADDRESSES, API_PORT, type ClusterPlan, type NodePlan } from './plan.ts';

/** A busy machine may take long; a cluster that never comes must not hold the ring. */
const READY_TIMEOUT_MS = 300_000;
const POLL_MS = 200;
const STOP_GRACE_MS = 2_000;
/** A node that has not started again by then does not. */
const RESTART_MS = 30_000;
/** Where Debian and Fedora have the CNI plugins (package containernetworking-plugins). */
const CNI_FOLDERS = ['/usr/lib/cni', '/usr/libexec/cni', '/opt/cni/bin'];

interface NodeObject {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly podCIDR?: string };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/**
 * Joins the node's cgroups, then becomes its first process. `unshare` stays its parent and ends with it, either way: the
 * kernel ends everything on the node with its first process.
 */
const ENTER = `
netns=$1 script=$2; shift 2
for group; do echo $$ >"$group/cgroup.procs" || exit 1; done
exec nsenter --net="$netns" unshare --mount --uts --ipc --pid --cgroup --fork --kill-child --mount-proc bash "$script"`;

export class Cluster {
  readonly #plan: ClusterPlan;
  readonly #programs: string;
  readonly #say: (text: string) => void;
  readonly #processes: ManagedProcess[] = [];
  readonly #logs: LogFile[] = [];
  readonly #marker = randomUUID();
  #client: KubeClient | undefined;
  #forward: Server | undefined;
  #server = '';
  #isDown = false;

  /** @param programs folder with the programs (programs.ts) */
  constructor(plan: ClusterPlan, programs: string, say: (text: string) => void) {
    this.#plan = plan;
    this.#programs = programs;
    this.#say = say;
  }

  /**
   * Brings it up, with every image imported on every node.
   *
   * @param images archives: those that the cluster needs itself, then the others
   * @throws ClusterError
   */
  async up(images: { readonly first: readonly string[]; readonly then: readonly string[] }): Promise<void> {
    const started = Date.now();
    const said = (what: string): void =>
      this.#say(`${what} after ${((Date.now() - started) / 1000).toFixed(1)} s`);
    for (const dir of [this.#plan.logs, this.#plan.told]) mkdirSync(dir, { recursive: true });
    await buildNetwork(this.#plan);
    await makeCertificates(this.#plan);
    await this.#startControlPlane();
    said('control plane ready');
    for (const node of this.#plan.nodes) this.#startNode(node, images);
    for (const node of this.#plan.nodes) await this.#joinNode(node);
    await this.#startDns();
    said('nodes and name server ready');
    await this.#until('all images imported', () =>
      Promise.resolve(
        this.#plan.nodes.every((node) => existsSync(`/proc/${this.#init(node)}/root/run/node-started`)),
      ),
    );
    this.#tell();
    said('cluster up');
  }

  /** Ends and removes it. @returns what could not be removed */
  async down(): Promise<string[]> {
    this.#isDown = true;
    this.#client?.close();
    this.#forward?.close();
    // Nothing is worth waiting for: what they hold goes with them.
    await Promise.all(
      this.#processes.map((one) => one.stop(one.name.startsWith('node') ? 0 : STOP_GRACE_MS)),
    );
    for (const log of this.#logs) log.close();
    return removeCluster(this.#plan);
  }

  async #startControlPlane(): Promise<void> {
    const plan = this.#plan;
    const inside = `https://${ADDRESSES.control}:${API_PORT}`;
    for (const holder of [
      'controller-manager',
      'scheduler',
      'kube-proxy',
      ...plan.nodes.map(({ name }) => name),
    ])
      writeKubeconfig(plan, holder, inside, join(plan.dir, `${holder}.kubeconfig`));
    const within = (command: readonly string[]): [string, ...string[]] => [
      'nsenter',
      `--net=${netnsPath(plan.control)}`,
      '--',
      ...command,
    ];
    this.#start('etcd', within(etcdCommand(plan, this.#programs)));
    this.#start('kube-apiserver', within(apiServerCommand(plan, this.#programs)));
    const forwarder = siblingModule(import.meta.url, './forward-main').pathname;
    const to = [ADDRESSES.control, String(API_PORT)];
    this.#start('forward', within([process.execPath, forwarder, plan.apiSocket, ...to]));
    this.#forward = await forward({ host: '127.0.0.1', port: 0 }, { path: plan.apiSocket });
    this.#server = `https://127.0.0.1:${(this.#forward.address() as AddressInfo).port}`;
    this.#client = new KubeClient({
      server: this.#server,
      caFile: join(plan.pki, 'ca.crt'),
      credentials: {
        kind: 'certificate',
        certFile: join(plan.pki, 'admin.crt'),
        keyFile: join(plan.pki, 'admin.key'),
      },
    });
    await this.#until('the API server is ready', async (client) => (await client.text('/readyz')) === 'ok');
    this.#start('kube-controller-manager', within(controllerManagerCommand(plan, this.#programs)));
    this.#start('kube-scheduler', within(schedulerCommand(plan, this.#programs)));
  }

  #startNode(
    node: NodePlan,
    images: { readonly first: readonly string[]; readonly then: readonly string[] },
  ): void {
    const cni = CNI_FOLDERS.find((folder) => existsSync(join(folder, 'ptp')));
    if (cni === undefined)
      throw new ClusterError('CLUSTER_MACHINE', `no CNI plugins in ${CNI_FOLDERS.join(', ')}`);
    mkdirSync(node.dir, { recursive: true });
    const script = join(node.dir, 'init.sh');
    const parts = { plan: this.#plan, node, programs: this.#programs, cni, images };
    writeFileSync(script, nodeScript(parts), { mode: 0o700 });
    const groups = makeGroups(this.#plan, node);
    this.#start(node.name, ['sh', '-c', ENTER, 'enter', netnsPath(node.netns), script, ...groups]);
  }

  async #joinNode(node: NodePlan): Promise<void> {
    const path = `/api/v1/nodes/${node.name}`;
    let pods = '';
    await this.#until(`${node.name} has registered`, async (client) => {
      pods = (await client.get<NodeObject>(path)).spec.podCIDR ?? '';
      return pods !== '';
    });
    await routeToPods(this.#plan, node.name, pods);
    // The node's /etc is its own; what is written here it sees through its overlay.
    const cni = `/proc/${this.#init(node)}/root/etc/cni/net.d`;
    writeFileSync(join(cni, '10-cluster.conflist'), JSON.stringify(cniConfig(pods)));
    await this.#until(`${node.name} is ready`, async (client) => {
      const { status } = await client.get<NodeObject>(path);
      return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;
    });
  }

  async #startDns(): Promise<void> {
    const client = this.#client;
    for (const [collection, object] of COREDNS_OBJECTS) await client?.create(collection, object);
    await this.#until('the name server is ready', async (kube) => {
      const { status } = await kube.get<{ status?: { availableReplicas?: number } }>(
        '/apis/apps/v1/namespaces/kube-system/deployments/coredns',
      );
      return (status?.availableReplicas ?? 0) > 0;
    });
  }

  /** Process 1 of a node as this machine numbers it; 0 while it is being started. */
  #init(node: NodePlan): number {
    const state = this.#processes.find(({ name }) => name === node.name)?.state;
    return (state?.state === 'running' ? childrenOf(state.pid)[0] : undefined) ?? 0;
  }

  #start(name: string, command: [string, ...string[]]): void {
    const log = new LogFile(join(this.#plan.logs, `${name}.log`), 64 << 20);
    this.#logs.push(log);
    const started = new ManagedProcess({
      name,
      launch: () => ({
        command,
        env: { PATH: process.env['PATH'], HOME: '/root', [MESH_MARKER]: this.#marker },
        cwd: '/',
      }),
      log,
      records: new ProcessRecords(this.#plan.processes, this.#marker),
      // A node that was started again has another first process, which its parent makes in a moment.
      onChange: () => void this.#tellSoon(),
    });
    this.#processes.push(started);
    started.start();
  }

  async #tellSoon(): Promise<void> {
    this.#tell();
    const isWhole = (): boolean => this.#plan.nodes.every((node) => this.#init(node) !== 0);
    for (const deadline = Date.now() + RESTART_MS; !isWhole() && Date.now() < deadline;) await sleep(POLL_MS);
    if (!this.#isDown) this.#tell();
  }

  /** Writes what tests need to find their way; see test/cluster/support/cluster.ts. */
  #tell(): void {
    if (this.#server === '' || this.#isDown) return;
    const { told, pki } = this.#plan;
    const write = (name: string, content: string): void =>
      writeFileSync(join(told, name), content, { mode: 0o600 });
    write('server', this.#server);
    for (const name of ['ca.crt', 'admin.crt', 'admin.key'])
      if (!existsSync(join(told, name))) write(name, readFileSync(join(pki, name), 'utf8'));
    if (!existsSync(join(told, 'kubeconfig')))
      writeKubeconfig(this.#plan, 'admin', this.#server, join(told, 'kubeconfig'));
    write(
      'nodes',
      this.#plan.nodes.map((node) => `${node.name} ${this.#init(node)} ${netnsPath(node.netns)}\n`).join(''),
    );
    const pids = this.#processes.flatMap(({ name, state }) =>
      state.state === 'running' ? [`${name} ${state.pid}\n`] : [],
    );
    write('processes', pids.join(''));
    write('network', `${netnsPath(this.#plan.fabric)}\n${netnsPath(this.#plan.control)}\n`);
    write('programs', this.#programs);
  }

  async #until(what: string, holds: (client: KubeClient) => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MS;
    let last: unknown;
    for (;;) {
      try {
        if (this.#client !== undefined && (await holds(this.#client))) return;
      } catch (error) {
        last = error;
      }
      if (Date.now() > deadline)
        throw new ClusterError(
          'CLUSTER_NOT_READY',
          `${what}: not so after ${READY_TIMEOUT_MS / 1000} s; see ${this.#plan.logs}${last === undefined ? '' : ` (${errorText(last)})`}`,
        );
      await sleep(POLL_MS);
    }
  }
}

/** Each pod has a wire of its own to the node, which routes: no bridge, and no address is ever rewritten. */
function cniConfig(pods: string): object {
  return {
    cniVersion: '1.0.0',
    name: 'cluster',
    plugins: [
      {
        type: 'ptp',
        mtu: 1500,
        ipMasq: false,
        ipam: {
          type: 'host-local',
          // With the node's memory its pods are gone, and their addresses free.
          dataDir: '/run/cni',
          ranges: [[{ subnet: pods }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}

/**
 * Removes what a cluster has or had on this machine; also after a run that was killed. The caller holds the cluster's lock.
 *
 * @returns what could not be removed
 */
export async function removeCluster(plan: ClusterPlan): Promise<string[]> {
  ProcessRecords.killLeftovers(plan.processes);
  const groups = await removeGroups(plan);
  await removeNetwork(plan);
  if (groups.length === 0) await removeFolder(plan.dir);
  return groups;
}

/** Mounts below it go a moment after the last process of the node that had them. */
async function removeFolder(folder: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      rmSync(folder, { recursive: true, force: true });
      return;
    } catch (error) {
      if (tries === 20) throw error;
      await sleep(POLL_MS);
    }
  }
}
