import type { Socket } from 'node:net';
import { markOwnSocket, originalDst } from '../../lib/linux/bpf/own-sockets.ts';
import { ipFamily } from '../../lib/linux/ip.ts';
import { adoptUnconnected, bindSource, closeFd, tcpSocket } from '../../lib/linux/socket.ts';
import type { HostPort } from '../../lib/mesh/hbone/hbone-headers.ts';
import { socketFd } from '../../lib/mesh/hbone/socket-fd.ts';
import { InternalSources, type PodSockets } from './pod-sockets.ts';
import { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';

/** Descriptors of the BPF maps by which the kernel knows our sockets and tells original destinations. */
export interface MapFds {
  readonly ownSockets: number;
  readonly originalDst: number;
}

/** The maps in use, for all pods alike: an agent that restarts sends them anew. */
export class MapHolder {
  #current: MapFds;

  /** Owns the descriptors. */
  constructor(fds: MapFds) {
    this.#current = fds;
  }

  get current(): MapFds {
    return this.#current;
  }

  /** Takes over the new descriptors and closes the former: every use of them is synchronous, so none is under way. */
  replace(fds: MapFds): void {
    closeFd(this.#current.ownSockets);
    closeFd(this.#current.originalDst);
    this.#current = fds;
  }
}

/**
 * {@link PodSockets} by the kernel: sockets of the pod's netns, marked as our own by descriptor. Owns the netns
 * descriptor until {@link close}; later calls fail, since its number may be another's by then.
 */
export class KernelPodSockets implements PodSockets {
  #netnsFd: number | undefined;
  readonly #maps: MapHolder;
  readonly #sources = new InternalSources();

  constructor(netnsFd: number, maps: MapHolder) {
    this.#netnsFd = netnsFd;
    this.#maps = maps;
  }

  dialRemote(target: HostPort): Socket {
    return this.#dial(target, (fd) => markOwnSocket(this.#maps.current.ownSockets, fd));
  }

  dialApplication(target: HostPort, truePeer: HostPort): Socket {
    return this.#dial(target, (fd) => {
      markOwnSocket(this.#maps.current.ownSockets, fd, truePeer);
      bindSource(fd, this.#sources.next(ipFamily(target.ip) ?? 4));
    });
  }

  originalDst(accepted: Socket): HostPort | undefined {
    const fd = socketFd(accepted);
    return fd === undefined ? undefined : originalDst(this.#maps.current.originalDst, fd);
  }

  close(): void {
    if (this.#netnsFd !== undefined) closeFd(this.#netnsFd);
    this.#netnsFd = undefined;
  }

  #dial(target: HostPort, prepare: (fd: number) => void): Socket {
    if (this.#netnsFd === undefined) throw new ProxyError('POD_GONE', 'the pod is gone');
    const fd = tcpSocket(this.#netnsFd, ipFamily(target.ip));
    try {
      prepare(fd);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    return adoptUnconnected(fd).connect({ host: target.ip, port: target.port });
  }
}
