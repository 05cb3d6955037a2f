/** A local mesh with a hostile pod in it, and the same pod outside of it for the controls. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { askJson } from '../../cli/local/http.ts';
import { netnsName } from '../../cli/local/names.ts';
import { closeFd } from '../../lib/linux/libc.ts';
import { openNetns } from '../../lib/linux/netns.ts';
import { packageRoot } from '../../lib/package-root.ts';
import { run } from '../bpf/support/lab.ts';
import { eventually, Mesh } from '../mesh/harness.ts';
import { allowOnly, namespaceManifest, podManifest, serviceManifest } from '../mesh/manifests.ts';

export const PORT = 9000;
const OUTSIDE = { 'loam.dev/dataplane-mode': 'none' };

const appFile = (name: string): string => join(packageRoot(), 'test', 'attack', 'app', name);
const server = { commands: { server: `python3 ${appFile('server.py')}` }, ports: [PORT] };

/** The attacker may call nobody: whatever it reaches, it reaches by going around the mesh. */
const NOBODY = `
apiVersion: loam.dev/v1
kind: EgressPolicy
metadata: {name: attacker, namespace: m}
spec:
  selector: {matchLabels: {app: attacker}}
  allow:
    - services: [{name: nothing}]
`;

const MANIFESTS = {
  'namespace.yaml': namespaceManifest(),
  'attacker.yaml': podManifest('attacker'),
  'free.yaml': podManifest('free', { labels: OUTSIDE }),
  'friend.yaml': podManifest('friend'),
  'victim.yaml': podManifest('victim', { node: 'node-b', ...server }),
  'trusting.yaml': podManifest('trusting', { node: 'node-b', ...server }),
  'open.yaml': podManifest('open', { node: 'node-b', ...server, labels: OUTSIDE }),
  'services.yaml': serviceManifest('nothing', 'nothing', { 1: 1 }),
  'victim-policy.yaml': allowOnly('victim', 'friend'),
  'egress.yaml': NOBODY,
};

export type PodName = 'attacker' | 'free' | 'friend' | 'victim' | 'trusting' | 'open';

/** One thing that a process in a pod does; see app/attack.py. */
export type Step = Readonly<Record<string, unknown>> & {
  readonly do: 'dial' | 'squat' | 'cgroup' | 'under-program' | 'join';
};

/** A pod's namespace as the packet sockets of test/bpf want it. */
export interface NetnsOfPod extends Disposable {
  readonly netns: string;
  readonly netnsFd: number;
}

export class World {
  readonly mesh: Mesh;
  readonly ips = new Map<PodName, string>();

  private constructor(mesh: Mesh) {
    this.mesh = mesh;
  }

  static async up(): Promise<World> {
    const world = new World(await Mesh.up(MANIFESTS));
    for (const name of ['attacker', 'free', 'friend', 'victim', 'trusting', 'open'] as const)
      world.ips.set(name, (await world.mesh.pod(name)).ip);
    return world;
  }

  ip(pod: PodName): string {
    return this.ips.get(pod) ?? assert.fail(`no address of ${pod}`);
  }

  /** Runs steps in a pod, one process for all of them. */
  async attack(pod: PodName, ...steps: readonly Step[]): Promise<unknown[]> {
    const { stdout, stderr } = await this.mesh.exec(
      pod,
      'python3',
      appFile('attack.py'),
      JSON.stringify(steps),
    );
    assert.notEqual(stdout, '', stderr);
    return JSON.parse(stdout) as unknown[];
  }

  /** What one dial got: `APP` when it reached the application. */
  async dial(pod: PodName, step: Readonly<Record<string, unknown>>): Promise<string> {
    const [got] = await this.attack(pod, { do: 'dial', port: PORT, ...step });
    return String(got).trim();
  }

  /** How often an application was reached, by whomever. */
  reached(pod: 'victim' | 'trusting' | 'open'): number {
    const log = readFileSync(this.mesh.paths.podLog('m', pod, 'server'), 'utf8');
    return log.split('\n').filter((line) => line.includes('reached by')).length;
  }

  netnsName(pod: PodName): string {
    return netnsName(this.mesh.name, { kind: 'pod', namespace: 'm', name: pod });
  }

  netns(pod: PodName): NetnsOfPod {
    const netns = this.netnsName(pod);
    const netnsFd = openNetns(`/run/netns/${netns}`);
    return { netns, netnsFd, [Symbol.dispose]: () => closeFd(netnsFd) };
  }

  /** As root of the pod, with all tools of the machine. */
  inPod(pod: PodName, command: string): string {
    return run(`nsenter --net=/run/netns/${this.netnsName(pod)} sh -ec '${command}'`);
  }

  /** The agent's page. */
  async agent(node: string): Promise<AgentPage> {
    const socketPath = this.mesh.paths.agentStatusOf(node);
    return (await askJson({ socketPath }, '/status')) as AgentPage;
  }

  /** The agent's page about a pod. */
  async agentPod(pod: PodName, node: string): Promise<AgentPod> {
    const { pods } = await this.agent(node);
    return pods.find((each) => each.pod === `m/${pod}`) ?? assert.fail(`the agent does not know ${pod}`);
  }

  /** Waits until all nodes serve again. */
  async whole(): Promise<void> {
    await eventually(
      'the mesh to be whole',
      async () => (await this.dial('friend', { ip: this.ip('victim') })) === 'APP',
    );
  }
}

export interface AgentPage {
  readonly instance: string;
  readonly pods: AgentPod[];
  readonly kernel: Readonly<Record<string, number>>;
  readonly maps: Readonly<Record<string, { readonly entries: number; readonly capacity: number }>>;
  readonly repairs: Readonly<Record<string, number>>;
}

export interface AgentPod {
  readonly pod: string;
  readonly netns: { readonly cookie?: string };
  readonly listeners: Readonly<Record<string, number>>;
  readonly guard: {
    readonly mode: string;
    readonly guarded: readonly { readonly name: string; readonly by: string }[];
    readonly unguarded: readonly string[];
    readonly dropped: Readonly<Record<string, number>>;
  };
}
