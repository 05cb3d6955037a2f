import { errorText } from '../../lib/loam-error.ts';
import type { AddressPlan } from './addresses.ts';
import { writeAtomically } from './files.ts';
import { agentReadiness, servingProxy, waitingProxy } from './agent-status.ts';
import { LocalMeshError } from './errors.ts';
import { LogFile } from './log-file.ts';
import { ManagedProcess } from './managed-process.ts';
import { agentInstance } from './names.ts';
import type { MeshNetwork } from './network.ts';
import type { MeshPaths } from './paths.ts';
import type { Installation } from './installation.ts';
import { agentCommand, DRAIN_MS, ztunnelCommand } from './programs.ts';
import type { ProcessRecords } from './process-record.ts';
import { ReplacedProcess } from './replaced-process.ts';
import { RollingProcess } from './rolling-process.ts';
import type { Rolled } from './takeover.ts';
import type { TokenFile } from './tokens.ts';

/** Time for an agent's orderly end when the mesh is taken down. */
const AGENT_GRACE_MS = 2_000;
/** Beyond the time for which a ztunnel may serve what is open when it is replaced. */
const ZTUNNEL_GRACE_MS = DRAIN_MS + 5_000;
/** How long a new agent or ztunnel may take until it is ready. */
const TAKEOVER_MS = 60_000;

export interface NodePoolOptions {
  readonly mesh: string;
  readonly paths: MeshPaths;
  readonly plan: AddressPlan;
  readonly network: MeshNetwork;
  readonly tokens: TokenFile;
  readonly env: NodeJS.ProcessEnv;
  readonly records: ProcessRecords;
  /** Called before a node is made, so that whoever cleans up after a crash knows its name. */
  readonly onNode: (node: string, instance: string) => void;
  readonly onChange: () => void;
}

export interface MeshNode {
  readonly name: string;
  readonly netns: string;
  readonly agent: ReplacedProcess;
  readonly ztunnel: RollingProcess;
}

/** The nodes of the mesh. A node is made when the first pod names it and stays as long as the mesh. */
export class NodePool {
  readonly #options: NodePoolOptions;
  readonly #nodes = new Map<string, Promise<MeshNode>>();
  readonly #made = new Map<string, MeshNode>();
  #stopped = false;

  constructor(options: NodePoolOptions) {
    this.#options = options;
  }

  get all(): readonly MeshNode[] {
    return [...this.#made.values()];
  }

  /** The node, made and with its programs started. */
  ensure(name: string): Promise<MeshNode> {
    const known = this.#nodes.get(name);
    if (known) return known;
    const making = this.#make(name);
    this.#nodes.set(name, making);
    making.catch(() => this.#nodes.delete(name));
    return making;
  }

  /**
   * The nodes to do something with: one, or all.
   *
   * @throws LocalMeshError LOCAL_MESH_INPUT: no such node
   */
  named(name: string | undefined): readonly MeshNode[] {
    const nodes = this.all.filter((node) => name === undefined || node.name === name);
    if (name === undefined || nodes.length > 0) return nodes;
    const known = this.all
      .map((node) => node.name)
      .sort()
      .join(', ');
    throw new LocalMeshError('LOCAL_MESH_INPUT', `there is no node ${name}; there is: ${known}`);
  }

  /**
   * Replaces a program of a node.
   *
   * @throws LocalMeshError LOCAL_MESH_STATE: a new one did not take over, and the former does its part
   */
  async upgrade(
    { name, agent, ztunnel }: MeshNode,
    program: 'agent' | 'ztunnel',
    installation: Installation,
  ): Promise<Rolled> {
    try {
      return await (program === 'agent' ? agent : ztunnel).upgrade(installation, TAKEOVER_MS);
    } catch (error) {
      throw new LocalMeshError('LOCAL_MESH_STATE', `${program} of ${name}: ${errorText(error)}`);
    }
  }

  /** Ends all programs. The pods are gone by then, so no ztunnel has a connection to drain. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.all.flatMap((node) => [node.ztunnel.stop(0), node.agent.stop(AGENT_GRACE_MS)]));
  }

  async #make(name: string): Promise<MeshNode> {
    const { mesh, paths, plan, network, tokens, env, records, onChange, onNode } = this.#options;
    onNode(name, agentInstance(mesh, name));
    await network.addNode(name);
    tokens.issue({ node: name }, paths.tokenOf(name));
    writeAtomically(paths.podsOf(name), JSON.stringify({ pods: [] }));
    const netns = network.node(name);
    const process = (program: 'agent' | 'ztunnel', command: [string, ...string[]]): ManagedProcess =>
      new ManagedProcess({
        name: `${program} of ${name}`,
        launch: () => ({ command, env, cwd: '/' }),
        log: new LogFile(paths.logOf(program, name)),
        records,
        onChange,
      });
    const node: MeshNode = {
      name,
      netns,
      agent: new ReplacedProcess({
        make: (installation) => process('agent', agentCommand(installation, netns, mesh, name, paths)),
        isReady: async () => (await agentReadiness(paths.agentStatusOf(name))) === undefined,
        waitsFor: async () => (await agentReadiness(paths.agentStatusOf(name))) ?? 'it has become ready',
        graceMs: AGENT_GRACE_MS,
      }),
      ztunnel: new RollingProcess({
        make: (installation) => process('ztunnel', ztunnelCommand(installation, netns, name, plan, paths)),
        hasTakenOver: async (pid) => (await servingProxy(paths.agentStatusOf(name))) === pid,
        waitsFor: (pid) => waitingProxy(paths.agentStatusOf(name), pid),
        graceMs: ZTUNNEL_GRACE_MS,
      }),
    };
    this.#made.set(name, node);
    if (!this.#stopped) {
      node.agent.start();
      node.ztunnel.start();
    }
    return node;
  }
}
