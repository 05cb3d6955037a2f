/**
 * Pods of this node that the control plane has told of and the agent has not given us yet. The agent gives a pod when the
 * kernel redirects it, and the pod's first connection waits for a certificate from then on: so it is asked for when the
 * pod is heard of, beside all that the agent does.
 */
import { sameIdentity, type Identity } from '../../lib/spiffe.ts';
import type { AddressDelta, Workload } from '../../lib/mesh/state/model.ts';
import type { IdentityUsers } from './pod-directory.ts';

/** An agent that has not given a pod by then has trouble with it, and perhaps never will. */
const HOLD_MS = 30_000;
/** As many pods as a node has, and some that come and go. */
const MOST = 500;

export interface ExpectedPodsOptions {
  readonly node: string;
  readonly identities: IdentityUsers;
  /** For tests: calls back once after so many milliseconds, unless what it returns is called before. */
  readonly after?: (ms: number, callback: () => void) => () => void;
}

interface Held {
  readonly identity: Identity;
  readonly cancel: () => void;
}

export class ExpectedPods {
  readonly #options: ExpectedPodsOptions;
  readonly #after: (ms: number, callback: () => void) => () => void;
  /** By the workload's uid. */
  readonly #held = new Map<string, Held>();
  #stopped = false;

  constructor(options: ExpectedPodsOptions) {
    this.#options = options;
    this.#after = options.after ?? unrefTimer;
  }

  /** To be called with all that the control plane tells. Of identities that are in use anyway, it changes nothing. */
  came({ upserts, removed }: AddressDelta): void {
    for (const resource of upserts) if (resource.kind === 'workload') this.#came(resource);
    for (const uid of removed) this.#release(uid);
  }

  /** Expects nothing any more; to be called before the certificates end. */
  stop(): void {
    this.#stopped = true;
    for (const uid of [...this.#held.keys()]) this.#release(uid);
  }

  #came(workload: Workload): void {
    const { uid, identity } = workload;
    const held = this.#held.get(uid);
    if (!this.#isExpected(workload)) return this.#release(uid);
    if (held !== undefined && sameIdentity(held.identity, identity)) return;
    if (held === undefined && this.#held.size >= MOST) return;
    this.#options.identities.acquire(identity);
    this.#release(uid);
    this.#held.set(uid, { identity, cancel: this.#after(HOLD_MS, () => this.#release(uid)) });
  }

  /** Only a pod that is to be here can be given us, and only for such a one does the CA issue. */
  #isExpected({ uid, node, tunnelProtocol, hostNetwork, nativeTunnel, standIn }: Workload): boolean {
    const isPod = uid.includes('//Pod/') && !hostNetwork && !nativeTunnel && standIn === undefined;
    return !this.#stopped && isPod && node === this.#options.node && tunnelProtocol === 'hbone';
  }

  #release(uid: string): void {
    const held = this.#held.get(uid);
    if (held === undefined) return;
    this.#held.delete(uid);
    held.cancel();
    this.#options.identities.release(held.identity);
  }
}

function unrefTimer(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, ms).unref();
  return () => clearTimeout(timer);
}
