import type { Socket } from 'node:net';

/** The descriptor of a connected socket; undefined when it is closed already. Node has no public name for it. */
export function socketFd(socket: Socket): number | undefined {
  const handle = (socket as unknown as { _handle?: { fd?: number } | null })._handle;
  const fd = handle?.fd;
  return fd === undefined || fd < 0 ? undefined : fd;
}
