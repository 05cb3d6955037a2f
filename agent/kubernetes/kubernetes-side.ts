/** What the agent has to do with Kubernetes, out of its parts: the API's pods, the runtime's sandboxes, Events. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { KubeAccess } from '../../lib/kubernetes/access.ts';
import { KubeClient } from '../../lib/kubernetes/client.ts';
import { Reflector } from '../../lib/kubernetes/reflector.ts';
import type { NetnsInode } from '../../lib/linux/netns.ts';
import { whyUncovered } from '../census.ts';
import type { Clock } from '../clock.ts';
import type { CniSettings } from '../config.ts';
import type { PodRecord } from '../pod-record.ts';
import type { RedirectionPort } from '../redirection-port.ts';
import { PluginKeeper, type CniState } from './cni/plugin-keeper.ts';
import { CniServer } from './cni/server.ts';
import { KubeletFinder } from './kubelet-finder.ts';
import { KubeletWatch } from './kubelet-watch.ts';
import { KubernetesPodSource } from './kubernetes-pod-source.ts';
import { NetnsFinder } from './netns-finder.ts';
import { NriPlugin, type HeldPod, type NriState } from './nri/plugin.ts';
import { PodEvents } from './pod-events.ts';
import { PodGate, type GateCounts } from './pod-gate.ts';
import { ProcessTable } from './process-table.ts';
import { Sandboxes } from './sandboxes.ts';
import { TroubleTeller } from './trouble-teller.ts';

export interface KubernetesSideOptions {
  readonly node: string;
  readonly access: KubeAccess;
  /** Path of the container runtime's NRI socket. */
  readonly nri: string;
  /** File name of the program that is the node's kubelet. */
  readonly kubelet: string;
  /** The CNI plugin on the host; undefined: there is none. */
  readonly cni: CniSettings | undefined;
  /** Folder of sockets, which is root's alone. */
  readonly runFolder: string;
  readonly redirection: Pick<RedirectionPort, 'setKubelet' | 'cgroupPath'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** The pods that belong in the mesh, by uid. */
  readonly records: () => ReadonlyMap<string, PodRecord>;
}

export interface KubernetesStatus {
  readonly nri: NriState;
  /** The network plugin that holds new pods while nobody does by NRI; absent: there is none. */
  readonly cni?: CniState;
  /** Pods that were held until they were enrolled. */
  readonly held: GateCounts;
  /** The process whose probes pass to the applications; absent: there is none. */
  readonly kubeletPid?: number;
  /** Why probes do not pass. */
  readonly kubeletProblem?: string;
}

export class KubernetesSide {
  readonly source: KubernetesPodSource;
  readonly #client: KubeClient;
  readonly #gate: PodGate;
  readonly #nri: NriPlugin;
  readonly #teller: TroubleTeller;
  readonly #kubelet: KubeletWatch;
  readonly #cni: PluginKeeper | undefined;
  readonly #serve: () => Promise<CniServer | undefined>;
  #server: CniServer | undefined;

  /** @throws Error where the processes of the node cannot be seen */
  constructor(options: KubernetesSideOptions) {
    const { node, access, nri, clock, log, records } = options;
    const client = new KubeClient(access, { userAgent: 'loam-agent' });
    const sandboxes = new Sandboxes(() => this.source.changed());
    const events = new PodEvents({ client, node, clock, log });
    this.#client = client;
    this.source = new KubernetesPodSource({
      node,
      clock,
      sandboxes,
      finder: new NetnsFinder({ table: new ProcessTable(clock), ofNode: netnsOfNode() }),
      makeFeed: (request) => new Reflector({ client, log, ...request }),
    });
    this.#gate = new PodGate({
      source: this.source,
      records,
      clock,
      log,
      onRefused: (pod, message) => events.tell(pod, { type: 'Warning', reason: 'NotInMesh', message }),
    });
    this.#nri = new NriPlugin({
      path: nri,
      sandboxes,
      hold: (pod, atMostMs) => this.#gate.hold(pod, atMostMs),
      clock,
      log,
    });
    this.#kubelet = new KubeletWatch({
      finder: new KubeletFinder({ program: options.kubelet }),
      setKubelet: (kubelet) => options.redirection.setKubelet(kubelet),
      whyUnseen: (pid) => whyUncovered(pid, options.redirection.cgroupPath),
      clock,
      log,
    });
    const socket = join(options.runFolder, 'cni.sock');
    const { cni } = options;
    this.#cni =
      cni &&
      new PluginKeeper({
        ...cni,
        entry: { socket, outside: join(options.runFolder, 'cni-outside'), exempt: cni.exempt },
        outside: () => this.source.outsideNamespaces,
        clock,
        log,
      });
    const hold = (pod: HeldPod, atMostMs: number): Promise<void> => this.#gate.hold(pod, atMostMs);
    const isSpare = (): boolean => cni?.mode !== 'always' && this.#nri.state.state === 'connected';
    this.#serve = async () => cni && CniServer.listen({ path: socket, sandboxes, hold, isSpare, log });
    this.#teller = new TroubleTeller({ events, clock });
  }

  get status(): KubernetesStatus {
    const { pid, problem } = this.#kubelet;
    return {
      nri: this.#nri.state,
      ...(this.#cni && { cni: this.#cni.state }),
      held: this.#gate.counts,
      ...(pid !== undefined && { kubeletPid: pid }),
      ...(problem !== undefined && { kubeletProblem: problem }),
    };
  }

  /** Begins to hold pods; the source is started by whoever follows it. */
  async start(): Promise<void> {
    this.#kubelet.start();
    this.#nri.start();
    // A plugin of a former agent may be waiting, whatever is wanted now.
    this.#server = await this.#serve();
    this.#cni?.start();
  }

  /** To be called after each pass of the reconciler. */
  look(records: Iterable<PodRecord>): void {
    this.#teller.look(records, this.source.state.leftAlone ?? []);
  }

  /** The source is closed by whoever started it. */
  close(): void {
    this.#nri.close();
    this.#cni?.close();
    this.#server?.close();
    this.#kubelet.close();
    this.#client.close();
  }
}

/** Ours, which is the node's, and that of the node's first process, which shows that its processes can be seen. */
function netnsOfNode(): NetnsInode[] {
  return ['/proc/self/ns/net', '/proc/1/ns/net'].map((path) => statSync(path, { bigint: true }));
}
