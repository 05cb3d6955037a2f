import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeQuietly, dup } from '../../lib/linux/libc.ts';
import { netnsInode, sameNetns, type NetnsInode } from '../../lib/linux/netns.ts';
import { isListening } from '../../lib/linux/socket.ts';
import { HboneServer } from './hbone-server.ts';
import { servePlaintext } from './inbound-plaintext.ts';
import { Listener, type Scarcity } from '../../lib/mesh/hbone/listener.ts';
import { serveOutbound } from './outbound.ts';
import type { Pod } from './pod.ts';
import { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';

/** Descriptors of a pod's listeners. */
export interface ListenerFds {
  readonly outbound: number;
  readonly plaintext: number;
  readonly hbone: number;
}

/** For so long replaced listeners go on accepting: what waits in their backlog is still a connection of somebody. */
const BACKLOG_DRAIN_MS = 5_000;
/** So often is a pod that has left the mesh asked for what it has open. */
const RELEASED_POLL_MS = 1_000;
const CROWDED_LOG_INTERVAL_MS = 10_000;

/**
 * Everything that serves one pod. Owns the descriptors that it is given, and accepts from duplicates of them only while
 * it is told to: until then, and afterwards, another ztunnel of the node does.
 */
export class PodProxy {
  readonly pod: Pod;
  /** The pod's sockets keep the namespace open, so that its inode cannot become another's. */
  readonly #netns: NetnsInode;
  readonly #hbone: HboneServer;
  #held: ListenerFds | undefined;
  #accepting = false;
  #listeners: Listener[] = [];
  readonly #old = new Set<Listener>();
  #stopped = false;
  #crowdedLogged = -Infinity;

  constructor(pod: Pod, netnsFd: number) {
    this.pod = pod;
    this.#netns = netnsInode(netnsFd);
    this.#hbone = new HboneServer(pod);
  }

  /** True when the descriptor is of the very netns that this proxy serves. */
  isOf(netnsFd: number): boolean {
    return sameNetns(this.#netns, netnsInode(netnsFd));
  }

  /**
   * Takes these listeners in the place of former ones, and accepts on them if it accepts at all. Former ones are
   * drained for some seconds, then closed; live connections stay.
   *
   * @throws Error when one cannot be listened on; the former ones then stay
   */
  async setListeners(fds: ListenerFds): Promise<void> {
    let fresh: Listener[] = [];
    try {
      if (this.#accepting) fresh = await this.#listen(fds);
      else [fds.outbound, fds.plaintext, fds.hbone].forEach(requireListening);
    } catch (error) {
      closeAll(fds);
      throw error;
    }
    if (this.#stopped) {
      fresh.forEach((listener) => listener.close());
      closeAll(fds);
      return;
    }
    if (this.#held !== undefined) closeAll(this.#held);
    this.#held = fds;
    void this.#drainListeners(this.#listeners);
    // Whoever changed its mind meanwhile waits for this call, so that it holds.
    this.#listeners = fresh;
  }

  /** Begins to accept. @throws Error when a listener cannot be listened on; none is then */
  async accept(): Promise<void> {
    if (this.#accepting || this.#stopped) return;
    this.#accepting = true;
    this.#hbone.resume();
    if (this.#held === undefined) return;
    try {
      const fresh = await this.#listen(this.#held);
      if (this.#stopped) fresh.forEach((listener) => listener.close());
      else this.#listeners = fresh;
    } catch (error) {
      this.#accepting = false;
      throw error;
    }
  }

  /**
   * Accepts no more, and says GOAWAY to those who came in by HBONE. What waits in the backlog stays for whoever else
   * holds the listeners; that of replaced ones, which nobody else may hold, is still taken here.
   */
  drain(): void {
    this.#accepting = false;
    for (const listener of this.#listeners) listener.close();
    this.#listeners = [];
    this.#hbone.drain();
  }

  /**
   * The pod has left the mesh and lives on: what waits at its listeners is taken for some seconds more, then nothing; tunnels into
   * it take no new stream. {@link setListeners} and {@link accept} take it back.
   *
   * @returns true when nothing of it is open any more; false when it was taken back or stopped before
   */
  async release(): Promise<boolean> {
    const listeners = this.#listeners;
    this.#accepting = false;
    this.#listeners = [];
    if (this.#held !== undefined) closeAll(this.#held);
    this.#held = undefined;
    await this.#drainListeners(listeners);
    const isReleased = (): boolean => !this.#accepting && this.#held === undefined && !this.#stopped;
    if (isReleased()) this.#hbone.drain();
    while (isReleased() && this.pod.mesh.registry.countOf(this.pod.info.uid) > 0)
      await sleep(RELEASED_POLL_MS, undefined, { ref: false });
    return isReleased();
  }

  /** The pod is gone, or another has its place: cuts all that it has. */
  stop(reason: string): void {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const listener of [...this.#listeners, ...this.#old]) listener.close();
    this.#listeners = [];
    this.#old.clear();
    if (this.#held !== undefined) closeAll(this.#held);
    this.#held = undefined;
    this.pod.mesh.registry.terminatePod(this.pod.info.uid, new ProxyError('POD_GONE', reason));
    this.pod.mesh.pool.evictPod(this.pod.info.uid);
    this.#hbone.destroy();
    this.pod.sockets.close();
  }

  /** Accepts on duplicates. @throws Error when one cannot be listened on; all duplicates are closed then */
  async #listen(fds: ListenerFds): Promise<Listener[]> {
    const { pod } = this;
    const serve = [
      [fds.outbound, 'applications', (socket: Socket) => void serveOutbound(pod, socket)],
      [fds.plaintext, 'applications', (socket: Socket) => void servePlaintext(pod, socket)],
      [fds.hbone, 'tunnels', (socket: Socket) => void this.#hbone.accept(socket)],
    ] as const;
    const listeners: Listener[] = [];
    try {
      const failed = (error: Error): void =>
        pod.mesh.log.error('listener failed', { pod: pod.info.uid, error: error.message });
      for (const [fd, clientsAre, connection] of serve) {
        const isTooMany = (socket: Socket): Scarcity | undefined => this.#isTooMany(socket);
        const crowded = (scarcity: Scarcity): void => this.#crowded(scarcity);
        listeners.push(new Listener(dup(fd), { connection, isTooMany, crowded, failed }, clientsAre));
      }
      await Promise.all(listeners.map((listener) => listener.ready));
      return listeners;
    } catch (error) {
      for (const listener of listeners) listener.close();
      throw error;
    }
  }

  #isTooMany(socket: Socket): Scarcity | undefined {
    const { descriptors } = this.pod.mesh;
    if (descriptors.isTouchedBy(socket)) return 'no-descriptors';
    return this.pod.lacksMemory ? 'no-memory' : undefined;
  }

  #crowded(scarcity: Scarcity): void {
    const { mesh } = this.pod;
    mesh.metrics.refused(scarcity);
    // Of memory it is told when it becomes scarce, and when it is no more.
    if (scarcity === 'no-memory') return;
    const now = performance.now();
    if (now - this.#crowdedLogged < CROWDED_LOG_INTERVAL_MS) return;
    this.#crowdedLogged = now;
    mesh.log.error('connections are refused: the process is out of descriptors', {
      pod: this.pod.info.uid,
      limit: mesh.descriptors.limit,
    });
  }

  async #drainListeners(listeners: readonly Listener[]): Promise<void> {
    for (const listener of listeners) this.#old.add(listener);
    await sleep(BACKLOG_DRAIN_MS, undefined, { ref: false });
    for (const listener of listeners) {
      this.#old.delete(listener);
      listener.close();
    }
  }
}

function closeAll({ outbound, plaintext, hbone }: ListenerFds): void {
  closeQuietly(outbound, plaintext, hbone);
}

function requireListening(fd: number): void {
  if (!isListening(fd)) throw new Error(`descriptor ${fd} is no listening socket`);
}
