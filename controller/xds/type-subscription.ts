import type { TypeSnapshot, VersionedResource } from './snapshot.ts';

/** What to send to bring a client from what it has to what it should have. */
export interface Delta {
  readonly upserts: readonly VersionedResource[];
  readonly removed: readonly string[];
}

/** The subscription part of a request. */
export interface SubscriptionRequest {
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initialVersions: Readonly<Record<string, string>>;
}

const WILDCARD = '*';
/** A client may ask for this many names; a node has some thousand peers at the most. */
const MAX_NAMES = 20_000;
const MAX_NAME_LENGTH = 1024;

/**
 * What one client has asked for of one type and what it was sent (ambient-facts C9). What to send is always the
 * difference between the two and the snapshot, so that a slow client gets one summary of all it missed.
 */
export class TypeSubscription {
  #wildcard = false;
  readonly #names = new Set<string>();
  /** Name to version of all that the client has or is being sent. */
  readonly #sent = new Map<string, string>();
  /** Names asked for that do not exist, and that the client was told so. */
  readonly #toldMissing = new Set<string>();
  /** Names asked for by other than the first request: to be sent whether or not the client has them (xDS: resubscription). */
  readonly #asked = new Set<string>();
  #isFirst = true;

  get wildcard(): boolean {
    return this.#wildcard;
  }

  /**
   * Takes in a request.
   *
   * @throws Error when the client asks for more than a client may
   */
  update({ subscribe, unsubscribe, initialVersions }: SubscriptionRequest): void {
    const isFirst = this.#isFirst;
    if (isFirst) {
      this.#isFirst = false;
      if (subscribe.length === 0) this.#wildcard = true;
      for (const [name, version] of Object.entries(initialVersions)) {
        if (name.length > MAX_NAME_LENGTH || version.length > MAX_NAME_LENGTH)
          throw new Error('has a resource with too long a name or version');
        this.#sent.set(name, version);
      }
    }
    for (const name of subscribe) {
      if (name === WILDCARD) this.#wildcard = true;
      else {
        if (name.length > MAX_NAME_LENGTH || this.#names.size >= MAX_NAMES)
          throw new Error('subscribes to too many names');
        this.#names.add(name);
        // Asked again means: tell me again. What a client that comes back has, it says by version.
        this.#toldMissing.delete(name);
        if (!isFirst) this.#asked.add(name);
      }
    }
    for (const name of unsubscribe) {
      // "*" in both lists of one message: wanted is nothing but what is named.
      if (name === WILDCARD) this.#wildcard = false;
      else {
        this.#names.delete(name);
        this.#toldMissing.delete(name);
        this.#asked.delete(name);
        if (!this.#wildcard) this.#sent.delete(name);
      }
    }
  }

  /** The difference between what the client should have and what it has; nothing is marked as sent yet. */
  diff(snapshot: TypeSnapshot): Delta {
    const upserts: VersionedResource[] = [];
    const removed: string[] = [];
    const wanted = this.#wildcard ? undefined : this.#wantedNames(snapshot, removed);
    const consider = (resource: VersionedResource | undefined): void => {
      if (resource !== undefined && this.#sent.get(resource.name) !== resource.version)
        upserts.push(resource);
    };
    if (wanted === undefined) for (const resource of snapshot.resources.values()) consider(resource);
    else for (const name of wanted) consider(snapshot.resources.get(name));
    for (const name of this.#sent.keys()) {
      const resource = snapshot.resources.get(name);
      if (resource === undefined) removed.push(name);
      // What came along with a service is followed for as long as the client has it, or it would go stale there.
      else if (wanted !== undefined && !wanted.has(name)) consider(resource);
    }
    return { upserts, removed: [...new Set(removed)] };
  }

  /** To be called with what was put on the wire. */
  markSent(delta: Delta): void {
    for (const { name, version } of delta.upserts) this.#sent.set(name, version);
    for (const name of delta.removed) {
      this.#sent.delete(name);
      if (this.#names.has(name)) this.#toldMissing.add(name);
    }
  }

  #wantedNames(snapshot: TypeSnapshot, missing: string[]): Set<string> {
    const wanted = new Set<string>();
    for (const name of this.#names) {
      const found = snapshot.lookUp(name);
      if (found.length > 0) this.#toldMissing.delete(name);
      else if (!this.#toldMissing.has(name)) missing.push(name);
      for (const each of found) {
        wanted.add(each);
        const isMeant = each === name || snapshot.resources.get(each)?.aliases.includes(name) === true;
        if (isMeant && this.#asked.has(name)) this.#sent.delete(each);
      }
    }
    this.#asked.clear();
    return wanted;
  }
}
