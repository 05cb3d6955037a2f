import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { netnsInode, sameNetns, type NetnsInode } from '../../lib/linux/netns.ts';
import { HboneServer } from './hbone-server.ts';
import { servePlaintext } from './inbound-plaintext.ts';
import { Listener } from '../../lib/mesh/hbone/listener.ts';
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
const CROWDED_LOG_INTERVAL_MS = 10_000;

/** Everything that serves one pod. Owns the descriptors that it is given. */
export class PodProxy {
  readonly pod: Pod;
  /** The pod's sockets keep the namespace open, so that its inode cannot become another's. */
  readonly #netns: NetnsInode;
  readonly #hbone: HboneServer;
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
   * Starts to accept on these listeners. Former ones are drained for some seconds, then closed; live connections stay.
   *
   * @throws Error when one cannot be listened on; the former ones then stay
   */
  async setListeners(fds: ListenerFds): Promise<void> {
    const { pod } = this;
    const serve = [
      [fds.outbound, 'applications', (socket: Socket) => void serveOutbound(pod, socket)],
      [fds.plaintext, 'applications', (socket: Socket) => void servePlaintext(pod, socket)],
      [fds.hbone, 'tunnels', (socket: Socket) => void this.#hbone.accept(socket)],
    ] as const;
    const fresh = serve.map(
      ([fd, clientsAre, handler]) =>
        new Listener(
          fd,
          pod.mesh.descriptors,
          {
            connection: handler,
            crowded: () => this.#crowded(),
            failed: (error) => {
              pod.mesh.log.error('listener failed', { pod: pod.info.uid, error: error.message });
            },
          },
          clientsAre,
        ),
    );
    try {
      await Promise.all(fresh.map((listener) => listener.ready));
    } catch (error) {
      for (const listener of fresh) listener.close();
      throw error;
    }
    const former = this.#listeners;
    this.#listeners = fresh;
    void this.#drainListeners(former);
  }

  /** Closes the own duplicates of the listeners: the agent's keep new connections waiting for the next ztunnel. */
  stopAccepting(): void {
    for (const listener of [...this.#listeners, ...this.#old]) listener.close();
    this.#listeners = [];
    this.#old.clear();
  }

  /** GOAWAY to those who came in by HBONE. */
  drain(): void {
    this.stopAccepting();
    this.#hbone.drain();
  }

  /** The pod is gone, or another has its place: cuts all that it has. */
  stop(reason: string): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.stopAccepting();
    this.pod.mesh.registry.terminatePod(this.pod.info.uid, new ProxyError('POD_GONE', reason));
    this.pod.mesh.pool.evictPod(this.pod.info.uid);
    this.#hbone.destroy();
    this.pod.sockets.close();
  }

  #crowded(): void {
    const { mesh } = this.pod;
    mesh.metrics.refused('no-descriptors');
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
