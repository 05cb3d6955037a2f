/** One instance of redirection, with listeners that play ztunnel's part step by step. */
import type { GuardMode } from '../../../lib/guard-mode.ts';
import {
  markOwnSocket,
  originalDst,
  Redirection,
  type Counter,
  type Endpoint,
  type GuardMethod,
  type PodHandle,
} from '../../../lib/linux/bpf/index.ts';
import { inNetns } from '../../../lib/linux/netns.ts';
import { listenSteered } from '../../../lib/linux/socket.ts';
import { PREFIX, type Pod } from './lab.ts';
import { Sock } from './socket.ts';

let meshes = 0;

/** Where guards are attached, and how: by default as the kernel can. */
export interface GuardOptions {
  readonly hostNetnsFd: number;
  readonly method?: GuardMethod;
}

/** The three listeners of a pod. */
export interface Listeners {
  readonly outbound: Sock;
  readonly plaintext: Sock;
  readonly hbone: Sock;
}

/** An enrolled pod with its listeners. */
export interface MeshPod {
  readonly pod: Pod;
  readonly handle: PodHandle;
  readonly listeners: Listeners;
}

/** A name that no other test has. */
export function newInstanceName(): string {
  meshes += 1;
  return `${PREFIX}-${process.pid}-${meshes}`;
}

/** Opens listeners inside a pod. */
export function openListeners(pod: Pod): Listeners {
  const listen = () => Sock.adoptSteered(listenSteered({ netnsFd: pod.netnsFd }));
  return { outbound: listen(), plaintext: listen(), hbone: listen() };
}

/** Their descriptors, as enrolment takes them. */
export function listenerFds(listeners: Listeners): { outbound: number; plaintext: number; hbone: number } {
  const { outbound, plaintext, hbone } = listeners;
  return { outbound: outbound.fd, plaintext: plaintext.fd, hbone: hbone.fd };
}

/** Closes a pod's listeners, unless they are closed. */
export function closeListeners(listeners: Listeners): void {
  for (const listener of [listeners.outbound, listeners.plaintext, listeners.hbone]) listener.close();
}

/** Disposed of, once or more, it removes the instance. */
export class TinyMesh implements Disposable {
  readonly instance: string;
  redirection: Redirection;
  readonly #listeners: Listeners[] = [];
  readonly #guard: GuardOptions | undefined;
  #gone = false;

  /** @param guard without it the pods' veths end where no guard looks */
  constructor(instance = newInstanceName(), guard?: GuardOptions) {
    this.instance = instance;
    this.#guard = guard;
    this.redirection = Redirection.open({ instance, ...(guard && { guard }) });
  }

  enrol(pod: Pod, options: { cap?: number; guard?: GuardMode } = {}): MeshPod {
    const listeners = openListeners(pod);
    this.#listeners.push(listeners);
    const request = { ...pod, listeners: listenerFds(listeners), ...options };
    return { pod, handle: this.redirection.enrol(request), listeners };
  }

  /** ztunnel's socket inside a pod, marked as such. */
  ownSocket(pod: Pod, truePeer?: Endpoint, family: 4 | 6 = 4): Sock {
    const socket = Sock.open(pod.netnsFd, { family });
    markOwnSocket(this.redirection.ownSocketsMapFd, socket.fd, truePeer);
    return socket;
  }

  /** Where the application wanted to go, of a socket that the outbound listener accepted. */
  originalDst(accepted: Sock): Endpoint | undefined {
    return originalDst(this.redirection.originalDstMapFd, accepted.fd);
  }

  counter(name: Counter): number {
    return this.redirection.stats().counters[name];
  }

  [Symbol.dispose](): void {
    if (this.#gone) return;
    this.#gone = true;
    this.redirection.close();
    const remove = (): void => Redirection.remove(this.instance);
    if (this.#guard === undefined) remove();
    else inNetns(this.#guard.hostNetnsFd, remove);
    for (const listeners of this.#listeners) closeListeners(listeners);
  }
}
