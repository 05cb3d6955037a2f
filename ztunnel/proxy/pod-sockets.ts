import type { Socket } from 'node:net';
import { ProxyError } from './proxy-error.ts';
import type { HostPort } from './hbone-headers.ts';

/**
 * The sockets of one pod, made inside its network namespace. The data path uses this and never net.* directly, so that
 * tests put ordinary sockets in its place.
 */
export interface PodSockets {
  /** The pod is gone: from now on nothing can be dialled. */
  close(): void;
  /** Connects to another pod or host, with the pod's own address as source. Not connected yet on return. */
  dialRemote(target: HostPort): Socket;
  /** Connects to the pod's own application, which shall see `truePeer` as its client. Not connected yet on return. */
  dialApplication(target: HostPort, truePeer: HostPort): Socket;
  /** Where the application wanted to go whose connection the outbound listener accepted; undefined: not known. */
  originalDst(accepted: Socket): HostPort | undefined;
}

/**
 * Source addresses towards an application, rotating over 127/8: one address would give only 28,000 connections to one
 * port, TIME_WAIT included (FINDINGS F20). 127.0/16 is left out, since programs treat 127.0.0.1 as a friend.
 */
export class LoopbackSources {
  #next = Math.floor(Math.random() * 0xffffff);

  next(): string {
    this.#next = (this.#next + 1) % 0xffffff;
    const n = this.#next;
    const b = 1 + ((n & 0xff) % 254);
    const c = (n >> 8) & 0xff;
    const d = 1 + (((n >> 16) & 0xff) % 254);
    return `127.${b}.${c}.${d}`;
  }
}

/** The descriptor of a connected socket; undefined when it is closed already. Node has no public name for it. */
export function socketFd(socket: Socket): number | undefined {
  const handle = (socket as unknown as { _handle?: { fd?: number } | null })._handle;
  const fd = handle?.fd;
  return fd === undefined || fd < 0 ? undefined : fd;
}

/**
 * Waits until a socket is connected. On failure the socket is destroyed.
 *
 * @throws ProxyError CONNECT_FAILED with the system's error as cause; CONNECT_TIMEOUT
 */
export function whenConnected(socket: Socket, timeoutMs: number, target: HostPort): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      fail(
        new ProxyError(
          'CONNECT_TIMEOUT',
          `no answer from ${target.ip}:${target.port} in ${timeoutMs / 1000} s`,
        ),
      );
    }, timeoutMs);
    const onError = (error: Error): void => {
      fail(
        new ProxyError('CONNECT_FAILED', `cannot connect to ${target.ip}:${target.port}`, { cause: error }),
      );
    };
    const onClose = (): void => onError(new Error('closed before it was connected'));
    const settle = (): void => {
      clearTimeout(timer);
      socket.off('connect', onConnect);
      socket.off('close', onClose);
    };
    const onConnect = (): void => {
      settle();
      socket.off('error', onError);
      // Between here and the next owner's own listener an error must not end the process.
      socket.on('error', () => undefined);
      resolve();
    };
    const fail = (error: ProxyError): void => {
      settle();
      socket.destroy();
      reject(error);
    };
    socket.on('error', onError);
    socket.once('close', onClose);
    socket.once('connect', onConnect);
  });
}
