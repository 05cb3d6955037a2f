import { spiffeUri, type Identity } from '../../lib/spiffe.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import { waitForState } from '../../lib/mesh/state/wait.ts';
import type { Mesh } from './mesh.ts';
import type { PodSockets } from './pod-sockets.ts';
import { Shares } from '../../lib/mesh/hbone/shares.ts';
import { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';

/** What the agent tells of a pod. */
export interface PodInfo {
  /** The pod's Kubernetes UID. */
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Its addresses in the form of ip.ts; none: the agent does not tell them. */
  readonly ips?: readonly string[];
}

/** One pod of this node, as its connections see it. */
export class Pod {
  readonly info: PodInfo;
  readonly mesh: Mesh;
  readonly sockets: PodSockets;
  readonly identity: Identity;
  readonly identityUri: string;
  readonly #shares = new Shares();

  constructor(info: PodInfo, mesh: Mesh, sockets: PodSockets) {
    this.info = info;
    this.mesh = mesh;
    this.sockets = sockets;
    this.identity = {
      trustDomain: mesh.trustDomain,
      namespace: info.namespace,
      serviceAccount: info.serviceAccount,
    };
    this.identityUri = spiffeUri(this.identity);
  }

  /** The pod's own workload, as far as the control plane told. */
  workload(): Workload | undefined {
    return this.mesh.workloads.workloadOfPod({ clusterId: this.mesh.clusterId, ...this.info });
  }

  /** Waits up to 5 s for it, and for the first state as a whole. @throws ProxyError SOURCE_UNKNOWN */
  async whenWorkload(): Promise<Workload> {
    const { firstState, workloads } = this.mesh;
    const probe = () => (firstState.complete ? this.workload() : undefined);
    const found =
      probe() ?? (await waitForState([firstState, workloads], probe, this.mesh.limits.stateWaitMs));
    if (found !== undefined) return found;
    if (!firstState.complete) {
      throw new ProxyError('SOURCE_UNKNOWN', 'the control plane has not told its first state yet');
    }
    throw new ProxyError(
      'SOURCE_UNKNOWN',
      `the control plane does not know pod ${this.info.namespace}/${this.info.name} with service account ${this.info.serviceAccount}`,
    );
  }

  /** Whether there is no memory for one more connection of it, not even by what another pod holds too much of. */
  get lacksMemory(): boolean {
    const { memory, relief } = this.mesh;
    return memory.isTouched && !relief.makeRoomFor(this.info.uid);
  }

  /** For a connection that is registered. @throws ProxyError TOO_MANY_CONNECTIONS when it is one more than the pod may have */
  requireRoom(): void {
    const limit = this.mesh.limits.connectionsPerPod;
    if (this.mesh.registry.countOf(this.info.uid) <= limit) return;
    throw new ProxyError('TOO_MANY_CONNECTIONS', `the pod has ${limit} connections already`);
  }

  /**
   * For an inbound connection that is registered: a part of the pod's room that no one identity can take whole, so that
   * others reach the pod, and the pod reaches others.
   *
   * @param holder identity of the peer, empty where it proves none
   * @returns gives it back; to be called once
   * @throws ProxyError TOO_MANY_CONNECTIONS
   */
  takeShare(holder: string): () => void {
    this.requireRoom();
    const limit = this.mesh.limits.connectionsPerPod;
    const free = limit - this.mesh.registry.countOf(this.info.uid) + 1;
    if (this.#shares.take(holder, free)) return () => this.#shares.release(holder);
    const who = holder === '' ? 'plaintext peers' : holder;
    const message = `${who} have ${this.#shares.of(holder)} of the pod's ${limit} connections already`;
    throw new ProxyError('TOO_MANY_CONNECTIONS', message);
  }
}
