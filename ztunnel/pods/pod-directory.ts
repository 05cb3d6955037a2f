import { parseSpiffeUri, sameIdentity, type Identity } from '../../lib/spiffe.ts';
import { closeQuietly } from '../../lib/linux/libc.ts';
import { errorText } from '../../lib/loam-error.ts';
import type { PodInfo } from '../proxy/pod.ts';
import type { PodFds } from '../worker/messages.ts';
import type { MapFds } from '../proxy/kernel-sockets.ts';

/** Where pods are served: the connection worker. */
export interface PodHost {
  /** Takes over the descriptors. @throws Error when they cannot be worked with; they stay the caller's */
  setMaps(fds: MapFds): void;
  /** @throws Error when the pod cannot be served */
  add(pod: PodInfo, fds: PodFds): Promise<void>;
  /** Cuts what the pod has. */
  remove(uid: string): void;
  /** Accepts no more for the pod; what it has open goes on to its end. */
  release(uid: string): void;
}

/** Who needs a certificate; counted, so that the last pod of an identity takes it along. */
export interface IdentityUsers {
  acquire(identity: Identity): void;
  release(identity: Identity): void;
}

/** A pod as admin shows it. */
export interface PodRow extends PodInfo {
  readonly identity: Identity;
  readonly state:
    { readonly kind: 'starting' | 'served' } | { readonly kind: 'failed'; readonly error: string };
}

/** The pods that the agent gave to this ztunnel, and what became of each. */
export class PodDirectory {
  readonly #host: PodHost;
  readonly #identities: IdentityUsers;
  readonly #trustDomain: string;
  readonly #pods = new Map<string, PodRow>();

  constructor(host: PodHost, identities: IdentityUsers, trustDomain: string) {
    this.#host = host;
    this.#identities = identities;
    this.#trustDomain = trustDomain;
  }

  setMaps(fds: MapFds): void {
    this.#host.setMaps(fds);
  }

  /** Serves a pod, new or with other listeners. Owns the descriptors. @throws Error when that failed */
  async add(pod: PodInfo, fds: PodFds): Promise<void> {
    const former = this.#pods.get(pod.uid);
    let identity: Identity;
    try {
      identity = this.#identityOf(pod);
      if (former === undefined || !sameIdentity(former.identity, identity)) {
        this.#identities.acquire(identity);
        if (former !== undefined) this.#identities.release(former.identity);
      }
    } catch (error) {
      // The agent tries again and again: each time with fresh descriptors.
      closeQuietly(fds.netns, fds.outbound, fds.plaintext, fds.hbone);
      throw error;
    }
    this.#pods.set(pod.uid, { ...pod, identity, state: { kind: 'starting' } });
    try {
      await this.#host.add(pod, fds);
      this.#setState(pod.uid, { kind: 'served' });
    } catch (error) {
      this.#setState(pod.uid, { kind: 'failed', error: errorText(error) });
      throw error;
    }
  }

  /**
   * @param is `outside`: it lives on outside of the mesh, and what it has open goes on to its end
   * @returns whether it was known
   */
  remove(uid: string, is: 'gone' | 'outside' = 'gone'): boolean {
    const pod = this.#pods.get(uid);
    if (pod === undefined) return false;
    this.#pods.delete(uid);
    if (is === 'gone') this.#host.remove(uid);
    else this.#host.release(uid);
    this.#identities.release(pod.identity);
    return true;
  }

  /** After a snapshot: drops every pod that the agent did not name. */
  retain(named: ReadonlySet<string>): string[] {
    const gone = [...this.#pods.keys()].filter((uid) => !named.has(uid));
    for (const uid of gone) this.remove(uid);
    return gone;
  }

  rows(): PodRow[] {
    return [...this.#pods.values()];
  }

  #setState(uid: string, state: PodRow['state']): void {
    const pod = this.#pods.get(uid);
    if (pod !== undefined) this.#pods.set(uid, { ...pod, state });
  }

  /** @throws SpiffeError when the agent's names make no identity */
  #identityOf(pod: PodInfo): Identity {
    return parseSpiffeUri(`spiffe://${this.#trustDomain}/ns/${pod.namespace}/sa/${pod.serviceAccount}`);
  }
}
