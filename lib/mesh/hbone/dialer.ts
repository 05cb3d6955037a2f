import type { Socket } from 'node:net';
import { hostPortText, type HostPort } from './host-port.ts';
import { ProxyError } from './proxy-error.ts';

/** How a program makes its connections to others: from inside a pod, or from where it runs itself. */
export interface Dialer {
  /** Connects to another pod or host, with the own address as source. Not connected yet on return. */
  dialRemote(target: HostPort): Socket;
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
        new ProxyError('CONNECT_TIMEOUT', `no answer from ${hostPortText(target)} in ${timeoutMs / 1000} s`),
      );
    }, timeoutMs);
    const onError = (error: Error): void => {
      // Taken and let go at once, as by a peer that is killed; one that refuses would refuse again.
      const unused = (error as NodeJS.ErrnoException).code === 'ECONNRESET';
      fail(
        new ProxyError('CONNECT_FAILED', `cannot connect to ${hostPortText(target)}`, {
          cause: error,
          unused,
        }),
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
