/** {@link NodePort} on this machine. */
import { statSync } from 'node:fs';
import { ipFamily } from '../lib/linux/ip.ts';
import { isErrno } from '../lib/linux/libc.ts';
import { netnsCookie, netnsInode, openNetns, sameNetns, type NetnsInode } from '../lib/linux/netns.ts';
import { isPrivateSource, privateSourcesRoute, unroutePrivateSources } from '../lib/linux/private-sources.ts';
import { closeFd, isListening, listenSteered } from '../lib/linux/socket.ts';
import { tcpConnections } from '../lib/linux/tcp-connections.ts';
import { AgentError } from './agent-error.ts';
import { takeCensus } from './census.ts';
import type { NodePort, OpenNetns, ProcessCensus } from './node-port.ts';
import type { Listeners } from './redirection-port.ts';

export class LinuxNode implements NodePort {
  readonly #cgroupPath: string;
  /** The agent's namespace, and that of process 1: redirecting these would take the node's own traffic. */
  readonly #ofNode: readonly NetnsInode[];

  constructor(cgroupPath: string) {
    this.#cgroupPath = cgroupPath;
    this.#ofNode = [statSync('/proc/self/ns/net', { bigint: true }), ...initNetns()];
  }

  openNetns(path: string): OpenNetns {
    const fd = openOrMissing(path);
    if (fd === undefined) throw new AgentError('NETNS_MISSING', `there is no network namespace at ${path}`);
    try {
      const inode = netnsInode(fd);
      if (this.#ofNode.some((own) => sameNetns(own, inode))) {
        const message = `${path} is the network namespace of the node itself: such a pod cannot be in the mesh`;
        throw new AgentError('NETNS_OF_NODE', message);
      }
      return { fd, inode, cookie: netnsCookie(fd) };
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  inodeAt(path: string): NetnsInode | undefined {
    const fd = openOrMissing(path);
    if (fd === undefined) return undefined;
    try {
      return netnsInode(fd);
    } finally {
      closeFd(fd);
    }
  }

  closeNetns(netns: OpenNetns): void {
    closeFd(netns.fd);
  }

  listen({ fd }: OpenNetns): Listeners {
    const made: number[] = [];
    const listen = (): number => {
      const listener = listenSteered({ netnsFd: fd });
      made.push(listener);
      return listener;
    };
    try {
      return { outbound: listen(), plaintext: listen(), hbone: listen() };
    } catch (error) {
      made.forEach(closeFd);
      throw error;
    }
  }

  areListening({ outbound, plaintext, hbone }: Listeners): boolean {
    return [outbound, plaintext, hbone].every(isListening);
  }

  closeListeners({ outbound, plaintext, hbone }: Listeners): void {
    [outbound, plaintext, hbone].forEach(closeFd);
  }

  hasSources({ fd }: OpenNetns, ips: readonly string[]): boolean {
    return !ips.some((ip) => ipFamily(ip) === 6) || privateSourcesRoute(fd) === 'ours';
  }

  usesSources({ fd }: OpenNetns): boolean {
    return tcpConnections(fd).some(({ local, remote }) => [local.ip, remote.ip].some(isPrivateSource));
  }

  dropSources({ fd }: OpenNetns): void {
    unroutePrivateSources(fd);
  }

  census(): ProcessCensus {
    return takeCensus(this.#cgroupPath);
  }
}

function initNetns(): NetnsInode[] {
  try {
    return [statSync('/proc/1/ns/net', { bigint: true })];
  } catch {
    return []; // process 1 is hidden from us, as in some sandboxes: the agent's own namespace has to do
  }
}

function openOrMissing(path: string): number | undefined {
  try {
    return openNetns(path);
  } catch (error) {
    // EINVAL, EACCES: what is left of a namespace whose mount is gone is an ordinary file of mode 0000.
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EINVAL', 'EACCES')) return undefined;
    throw error;
  }
}
