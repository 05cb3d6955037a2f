import { closeFd } from '../../lib/linux/socket.ts';
import { KernelPodSockets, MapHolder, type MapFds } from '../proxy/kernel-sockets.ts';
import { Pod, type PodInfo } from '../proxy/pod.ts';
import { PodProxy } from '../proxy/pod-proxy.ts';
import type { Mesh } from '../proxy/mesh.ts';
import type { PodFds } from './messages.ts';

/** The pods that this worker serves. */
export class PodSet {
  readonly #mesh: Mesh;
  readonly #pods = new Map<string, PodProxy>();
  /** Pods that have left the mesh, with what they have open. */
  readonly #released = new Map<string, PodProxy>();
  #maps: MapHolder | undefined;
  #accepting = false;
  /** Changes of listeners and of whether they are accepted on, one after the other. */
  #changes: Promise<unknown> = Promise.resolve();

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
  }

  get size(): number {
    return this.#pods.size;
  }

  /** Takes over the descriptors of the agent's BPF maps; to be called before the first pod is added. */
  setMaps(fds: MapFds): void {
    if (this.#maps === undefined) this.#maps = new MapHolder(fds);
    else this.#maps.replace(fds);
  }

  /**
   * Starts to serve a pod. The same uid and network namespace again: its new listeners take over and live connections
   * stay; with another namespace or another account it is another sandbox, and the former one's connections are cut.
   *
   * @throws Error when it cannot be served; all descriptors are closed then
   */
  add(info: PodInfo, fds: PodFds): Promise<void> {
    return this.#inTurn(() => this.#add(info, fds));
  }

  /**
   * Begins to accept for all pods, and for those that are added later; or no more, with GOAWAY to all who came in.
   *
   * @throws Error when a pod's listeners cannot be listened on; the other pods are served all the same
   */
  setAccepting(accepting: boolean): Promise<void> {
    return this.#inTurn(async () => {
      this.#accepting = accepting;
      if (!accepting) {
        for (const proxy of this.#pods.values()) proxy.drain();
        return;
      }
      const results = await Promise.allSettled([...this.#pods.values()].map((proxy) => proxy.accept()));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    });
  }

  async #add(info: PodInfo, fds: PodFds): Promise<void> {
    const known = this.#pods.get(info.uid) ?? this.#takeBack(info.uid);
    if (known !== undefined && known.isOf(fds.netns) && sameInfo(known.pod.info, info)) {
      closeFd(fds.netns);
      await known.setListeners(fds);
      if (this.#accepting) await known.accept();
      this.#mesh.log.info('pod has new listeners', { pod: info.uid, name: info.name });
      return;
    }
    if (known !== undefined) this.remove(info.uid, 'the pod has another network namespace or account now');
    if (this.#maps === undefined) {
      for (const fd of [fds.netns, fds.outbound, fds.plaintext, fds.hbone]) closeFd(fd);
      throw new Error('the agent sent a pod before its BPF maps');
    }
    const sockets = new KernelPodSockets(fds.netns, this.#maps);
    const proxy = new PodProxy(new Pod(info, this.#mesh, sockets), fds.netns);
    this.#pods.set(info.uid, proxy);
    try {
      await proxy.setListeners(fds);
      if (this.#accepting) await proxy.accept();
    } catch (error) {
      if (this.#pods.get(info.uid) === proxy) this.#pods.delete(info.uid);
      proxy.stop('the pod could not be served');
      throw error;
    }
    this.#mesh.log.info('pod is served', { pod: info.uid, name: info.name, namespace: info.namespace });
  }

  /** Cuts a pod's connections at once: its network is gone already (ambient-facts C4). Unknown ones are ignored. */
  remove(uid: string, reason: string): void {
    const proxy = this.#pods.get(uid) ?? this.#released.get(uid);
    if (proxy === undefined) return;
    this.#pods.delete(uid);
    this.#released.delete(uid);
    proxy.stop(reason);
    this.#mesh.log.info('pod is served no more', { pod: uid, reason });
  }

  /** Accepts nothing more for a pod that has left the mesh. What it has open goes on to its end, and then it is forgotten. */
  release(uid: string): void {
    const proxy = this.#pods.get(uid);
    if (proxy === undefined) return;
    this.#pods.delete(uid);
    this.#released.set(uid, proxy);
    this.#mesh.log.info('pod has left the mesh: what it has open goes on', { pod: uid });
    void proxy.release().then((ended) => {
      if (!ended || this.#released.get(uid) !== proxy) return;
      this.#released.delete(uid);
      proxy.stop('the pod has left the mesh');
      this.#mesh.log.info('nothing of the pod is open any more', { pod: uid });
    });
  }

  /** A pod that comes back before all that it had open has ended. */
  #takeBack(uid: string): PodProxy | undefined {
    const proxy = this.#released.get(uid);
    if (proxy === undefined) return undefined;
    this.#released.delete(uid);
    this.#pods.set(uid, proxy);
    return proxy;
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#changes.then(change);
    this.#changes = turn.catch(() => undefined);
    return turn;
  }
}

function sameInfo(a: PodInfo, b: PodInfo): boolean {
  return a.name === b.name && a.namespace === b.namespace && a.serviceAccount === b.serviceAccount;
}
