import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../lib/loam-error.ts';
import type { AddressPlan } from './addresses.ts';
import { enrolledUids } from './agent-status.ts';
import { removeMesh, releaseMachine, sweepDeadMeshes, withMachineLock } from './cleanup.ts';
import { LocalMeshError } from './errors.ts';
import { ControlServer } from './control-server.ts';
import { makePrivateDir } from './files.ts';
import { followJsonLines } from './http.ts';
import { checkInstallation } from './installation.ts';
import { Kubelet } from './kubelet.ts';
import { LogFile } from './log-file.ts';
import { makeMachineMounts } from './machine-mounts.ts';
import { copyManifests, newCopyPath, removeCopy } from './manifest-copy.ts';
import { ManagedProcess } from './managed-process.ts';
import { writeMeshFile, type MeshFile } from './mesh-file.ts';
import { readAcceptedObjects } from './model.ts';
import { MeshNetwork } from './network.ts';
import { NodePool } from './node-pool.ts';
import { meshPaths, type MeshPaths } from './paths.ts';
import { ProcessRecords } from './process-record.ts';
import { controllerCommand, meshEnvironment } from './programs.ts';
import { freePlan } from './slots.ts';
import { supervisorReport } from './report-of.ts';
import type { SupervisorReport } from './report.ts';
import { readUpgradeRequest, type Upgraded } from './upgrade.ts';
import { TokenFile } from './tokens.ts';
import { WaypointPool } from './waypoint-pool.ts';

const STOP_GRACE_MS = 2_000;
const FOLLOW_RETRY_MS = 200;

export interface SupervisorOptions {
  readonly mesh: string;
  /** Absolute path of the directory of manifests. */
  readonly manifests: string;
  /** Work on a copy of them, which is made for this mesh and goes with it. */
  readonly temporaryManifests: boolean;
}

/**
 * Runs one local mesh for as long as it lives: network, controller, and with the first pod of each node its agent,
 * its ztunnel and the pods. The process holds the mesh's lock already (see up.ts).
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #paths: MeshPaths;
  /** Where the manifests are that this mesh follows. */
  readonly #manifests: string;
  readonly #stopping = new AbortController();
  #plan: AddressPlan | undefined;
  #controller: ManagedProcess | undefined;
  #nodes: NodePool | undefined;
  #waypoints: WaypointPool | undefined;
  #kubelet: Kubelet | undefined;
  #control: ControlServer | undefined;
  #log: LogFile | undefined;
  #file: MeshFile | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#paths = meshPaths(options.mesh);
    this.#manifests = options.temporaryManifests ? newCopyPath() : options.manifests;
  }

  /** Runs until {@link stop}; returns when nothing is left. */
  async run(): Promise<void> {
    try {
      await this.#start();
      await new Promise<void>((resolve) => {
        if (this.#stopping.signal.aborted) resolve();
        this.#stopping.signal.addEventListener('abort', () => resolve(), { once: true });
      });
    } finally {
      await this.#tearDown();
    }
  }

  stop(): void {
    this.#stopping.abort();
  }

  async #start(): Promise<void> {
    const { mesh, temporaryManifests } = this.#options;
    const manifests = this.#manifests;
    const paths = this.#paths;
    const say = (text: string): void => console.log(text);
    await withMachineLock(async () => {
      const { problems } = await removeMesh(mesh);
      if (problems.length > 0)
        throw new LocalMeshError(
          'LOCAL_MESH_STATE',
          `what an earlier mesh ${mesh} left cannot be removed: ${problems.join('; ')}`,
        );
      await sweepDeadMeshes([mesh], say);
      await makeMachineMounts();
      this.#plan = freePlan(mesh);
      makePrivateDir(paths.logs);
      this.#file = {
        mesh,
        slot: this.#plan.slot,
        manifests,
        temporaryManifests,
        supervisorPid: process.pid,
        nodes: [],
      };
      writeMeshFile(paths, this.#file);
      if (temporaryManifests) copyManifests(this.#options.manifests, manifests);
    });
    const plan = this.#plan;
    if (plan === undefined) return;
    const log = (this.#log = new LogFile(paths.supervisorLog));
    log.line(`mesh ${mesh} of ${manifests}, addresses ${plan.range}`);
    const marker = randomUUID();
    const records = new ProcessRecords(paths.processes, marker);
    const env = meshEnvironment(marker);
    this.#control = await ControlServer.listen(paths.controlSocket, {
      report: () => this.#report(),
      stop: () => this.stop(),
      upgrade: (query) => this.#upgrade(query),
    });
    const network = new MeshNetwork(mesh, plan);
    await network.build();
    const onChange = (): void => undefined;
    const tokens = new TokenFile(paths.tokens);
    const nodes = (this.#nodes = new NodePool({
      ...{ mesh, paths, plan, network, tokens, env, records, onChange },
      onNode: (node, instance) => this.#remember(node, instance),
    }));
    const waypoints = (this.#waypoints = new WaypointPool({
      ...{ paths, plan, network, nodes, tokens, env, records, log },
      onChange: () => this.#kubelet?.waypointsChanged(),
    }));
    this.#kubelet = new Kubelet({
      ...{ paths, plan, network, nodes, waypoints, env, records, manifests, log },
      enrolledUids: (node) => enrolledUids(paths.agentStatusOf(node)),
    });
    makePrivateDir(paths.controllerState);
    this.#controller = new ManagedProcess({
      name: 'controller',
      launch: () => ({ command: controllerCommand(network.control, plan, paths, manifests), env, cwd: '/' }),
      log: new LogFile(join(paths.logs, 'controller.log')),
      ...{ records, onChange },
    });
    this.#controller.start();
    void this.#followObjects();
  }

  /** Takes each set of objects that the controller accepts; goes on with the last one while it is away. */
  async #followObjects(): Promise<void> {
    const { signal } = this.#stopping;
    let lastError = '';
    while (!signal.aborted) {
      try {
        await followJsonLines(
          { socketPath: this.#paths.controllerStatus },
          '/v1/objects?watch=1',
          signal,
          (snapshot) => {
            lastError = '';
            this.#kubelet?.apply(readAcceptedObjects(snapshot));
          },
        );
      } catch (error) {
        if (signal.aborted) return;
        const text = errorText(error);
        if (text !== lastError) this.#log?.line(`objects: ${text}`);
        lastError = text;
      }
      await sleep(FOLLOW_RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #upgrade(query: URLSearchParams): Promise<readonly Upgraded[]> {
    const { node, programs, installation } = readUpgradeRequest(query);
    checkInstallation(installation, programs);
    const done: Upgraded[] = [];
    const note = (upgraded: Upgraded): void => {
      done.push(upgraded);
      const { program, formerPid, pid, instance } = upgraded;
      const what = instance === undefined ? `${program} of ${upgraded.node}` : `waypoint ${instance}`;
      this.#log?.line(`${what}: ${pid} took over from ${formerPid ?? 'none'}`);
    };
    const nodes = this.#nodes;
    for (const each of nodes?.named(node) ?? [])
      for (const program of programs)
        if (program !== 'waypoint' && nodes !== undefined)
          note({ program, node: each.name, ...(await nodes.upgrade(each, program, installation)) });
    if (programs.includes('waypoint'))
      for (const each of (await this.#waypoints?.upgrade(node, installation)) ?? [])
        note({ program: 'waypoint', ...each });
    return done;
  }

  #remember(node: string, instance: string): void {
    if (this.#file === undefined) return;
    this.#file = { ...this.#file, nodes: [...this.#file.nodes, { node, instance }] };
    writeMeshFile(this.#paths, this.#file);
  }

  #report(): SupervisorReport {
    return supervisorReport({
      mesh: this.#options.mesh,
      manifests: this.#manifests,
      addresses: this.#plan?.range ?? '',
      controller: this.#controller,
      nodes: this.#nodes?.all ?? [],
      kubelet: this.#kubelet,
      waypoints: this.#waypoints,
    });
  }

  async #tearDown(): Promise<void> {
    const { mesh } = this.#options;
    this.#stopping.abort();
    this.#log?.line('going down');
    // Pods first: then nobody is left whose connections the programs would have to care for.
    await this.#kubelet?.stop();
    await Promise.all([this.#nodes?.stop(), this.#controller?.stop(STOP_GRACE_MS)]);
    this.#log?.line('all processes ended');
    this.#log?.close();
    await withMachineLock(async () => {
      const { problems } = await removeMesh(mesh);
      // Also where the state that names the copy was deleted.
      if (this.#options.temporaryManifests) removeCopy(this.#manifests);
      for (const problem of problems) console.error(`loam: ${problem}`);
      this.#control?.close();
      await releaseMachine();
    });
  }
}
