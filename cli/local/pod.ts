import { isEnrolled, type Labels } from '../../lib/enrolment.ts';
import { errorText } from '../../lib/loam-error.ts';
import { makePrivateDir, writeInPlace } from './files.ts';
import { listeningPorts } from './listening.ts';
import { LogFile } from './log-file.ts';
import { ManagedProcess } from './managed-process.ts';
import { COMMAND_ANNOTATION_PREFIX, type ContainerManifest, type PodManifest } from './model.ts';
import type { ProcessRecords } from './process-record.ts';
import { inSandbox, Sandbox } from './sandbox.ts';

/** How long a pod's processes may take to end after SIGTERM when the pod alone is removed. */
const POD_GRACE_MS = 2_000;

export interface PodOptions {
  readonly manifest: PodManifest;
  readonly namespaceLabels: Labels;
  readonly uid: string;
  /** The primary first. */
  readonly ips: readonly string[];
  /** Name of its network namespace, which exists already. */
  readonly netns: string;
  /** The pod's directory in the state of the mesh. */
  readonly dir: string;
  /** Where the output of a container goes. */
  readonly logOf: (container: string) => string;
  /** Where the manifests are: the working directory of its commands. */
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly records: ProcessRecords;
  readonly onChange: () => void;
}

/** Where a pod is on its way. */
export type PodPhase =
  | { readonly phase: 'starting' }
  /** Its namespaces stand; its commands wait until the agent has enrolled it, so that no connection goes astray. */
  | { readonly phase: 'held'; readonly why: string }
  | { readonly phase: 'running' }
  | { readonly phase: 'failed'; readonly why: string }
  | { readonly phase: 'stopped' };

/** One life of one pod: from here on its uid, addresses and network namespace stay the same. */
export class Pod {
  manifest: PodManifest;
  namespaceLabels: Labels;
  readonly uid: string;
  readonly ips: readonly string[];
  readonly netns: string;
  readonly #options: PodOptions;
  readonly #containers: ManagedProcess[] = [];
  readonly #logs: LogFile[] = [];
  #sandbox: Sandbox | undefined;
  #phase: PodPhase = { phase: 'starting' };
  #ready = false;

  constructor(options: PodOptions) {
    this.#options = options;
    this.manifest = options.manifest;
    this.namespaceLabels = options.namespaceLabels;
    this.uid = options.uid;
    this.ips = options.ips;
    this.netns = options.netns;
  }

  get phase(): PodPhase {
    return this.#phase;
  }

  get initPid(): number | undefined {
    return this.#sandbox?.alive ? this.#sandbox.initPid : undefined;
  }

  get wantsEnrolment(): boolean {
    return isEnrolled(this.manifest.labels, this.namespaceLabels);
  }

  /** Whether all of its commands run and listen on the ports that their containers name. */
  get ready(): boolean {
    return this.#ready;
  }

  get containers(): readonly ManagedProcess[] {
    return this.#containers;
  }

  /** Its names, rewritten in place. */
  setHosts(text: string): void {
    makePrivateDir(this.#options.dir);
    writeInPlace(Sandbox.hostsPath(this.#options.dir), text);
  }

  /** Starts the namespaces; {@link setHosts} must have been called. The commands wait for {@link release}. */
  async start(): Promise<void> {
    const { dir, env, records, manifest } = this.#options;
    try {
      this.#sandbox = await Sandbox.start({
        dir,
        netns: this.netns,
        podName: manifest.name,
        env,
        records,
        onEnd: () => this.#sandboxEnded(),
      });
      this.#phase = this.wantsEnrolment
        ? { phase: 'held', why: 'waits until the agent has enrolled it' }
        : { phase: 'held', why: 'starts' };
    } catch (error) {
      this.#phase = { phase: 'failed', why: errorText(error) };
    }
    this.#options.onChange();
  }

  /** Lets the commands start. */
  release(): void {
    const sandbox = this.#sandbox;
    if (this.#phase.phase !== 'held' || sandbox === undefined) return;
    this.#phase = { phase: 'running' };
    for (const container of this.manifest.containers) this.#startContainer(container, sandbox.initPid);
    this.#options.onChange();
  }

  /** Looks whether it became ready; once ready it stays so until one of its commands ends. */
  checkReady(): void {
    if (this.#ready || this.#phase.phase !== 'running' || this.initPid === undefined) return;
    if (!this.#containers.every((container) => container.state.state === 'running')) return;
    const wanted = this.manifest.containers.flatMap((container) => container.ports);
    if (wanted.length > 0) {
      const listening = listeningPorts(this.initPid);
      if (!wanted.every((port) => listening.has(port))) return;
    }
    this.#ready = true;
    this.#options.onChange();
  }

  /** Ends all of it. @param how `kill` leaves its processes no time */
  async stop(how: 'gracefully' | 'kill'): Promise<void> {
    this.#phase = { phase: 'stopped' };
    this.#ready = false;
    const grace = how === 'kill' ? 0 : POD_GRACE_MS;
    await Promise.all(this.#containers.map((container) => container.stop(grace)));
    await this.#sandbox?.stop();
    for (const log of this.#logs) log.close();
  }

  #startContainer(container: ContainerManifest, initPid: number): void {
    const command = this.manifest.annotations[`${COMMAND_ANNOTATION_PREFIX}${container.name}`];
    // Without a command there is nothing to run here: its image belongs to a cluster.
    if (command === undefined) return;
    const { cwd, env, records, logOf } = this.#options;
    const { namespace, name, nodeName } = this.manifest;
    const log = new LogFile(logOf(container.name));
    this.#logs.push(log);
    const process = new ManagedProcess({
      name: container.name,
      launch: () => ({
        command: inSandbox(initPid, 'TERM', cwd, ['sh', '-c', command]),
        cwd: '/',
        env: {
          ...env,
          HOSTNAME: name,
          POD_NAME: name,
          POD_NAMESPACE: namespace,
          POD_IP: this.ips[0] ?? '',
          POD_IPS: this.ips.join(','),
          NODE_NAME: nodeName,
          ...container.env,
        },
      }),
      log,
      records,
      onChange: () => {
        this.#ready = false;
        this.#options.onChange();
      },
    });
    this.#containers.push(process);
    process.start();
  }

  #sandboxEnded(): void {
    if (this.#phase.phase === 'stopped') return;
    this.#phase = { phase: 'failed', why: 'its first process was killed' };
    this.#ready = false;
    this.#options.onChange();
  }
}
