import type { SharedWire } from './first-state.ts';
import type { TypeSnapshot, VersionedResource } from './snapshot.ts';
import { WildcardProgress } from './wildcard-progress.ts';

/** What to send to bring a client from what it has to what it should have. */
export interface Delta {
  readonly upserts: readonly VersionedResource[];
  readonly removed: readonly string[];
  /** Of what fits into one message, and others are sent too. */
  readonly shared?: SharedWire;
}

/** The subscription part of a request. */
export interface SubscriptionRequest {
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initialVersions: Readonly<Record<string, string>>;
}

const WILDCARD = '*';
/** In place of the version that a client has: it does have the resource, and has to hear of it when that goes before it was told again. */
const TO_BE_TOLD_AGAIN = '';
/** A client may ask for this many names; a node has some thousand peers at the most. */
const MAX_NAMES = 20_000;
const MAX_NAME_LENGTH = 1024;

/**
 * What one client has asked for of one type and what it was sent (ambient-facts C9). What to send is always the
 * difference between the two and the snapshot, so that a slow client gets one summary of all it missed. Who follows everything is
 * not compared with everything for each change: what is left to send is known by name.
 */
export class TypeSubscription {
  #wildcard = false;
  readonly #names = new Set<string>();
  /** Name to version of all that the client has or is being sent; of one that follows everything, what it said it has at first. */
  readonly #sent = new Map<string, string>();
  /** Of a client that follows everything. */
  #progress: WildcardProgress | undefined;
  /** Names asked for that do not exist, and that the client was told so. */
  readonly #toldMissing = new Set<string>();
  /** Names asked for by other than the first request: to be sent whether or not the client has them (xDS: resubscription). */
  readonly #asked = new Set<string>();
  readonly #node: string | undefined;
  #isFirst = true;
  /** What names asked for stood for, and what was to be sent, when that was looked at last. */
  #wanted: ReadonlySet<string> = new Set();
  #delta: Delta | undefined;

  /** @param node the client's, whose pods it is told of though it names nobody (as istiod does) */
  constructor(node?: string) {
    this.#node = node;
  }

  get wildcard(): boolean {
    return this.#wildcard;
  }

  /** Whether a client that follows everything was not sent all of the first state yet. */
  get isBeginning(): boolean {
    return this.#wildcard && this.#progress?.isBeginning !== false;
  }

  /**
   * Takes in a request.
   *
   * @throws Error when the client asks for more than a client may
   */
  update({ subscribe, unsubscribe, initialVersions }: SubscriptionRequest): void {
    const isFirst = this.#isFirst;
    if (isFirst || subscribe.length + unsubscribe.length > 0) this.#delta = undefined;
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

  /** The snapshot that counts is another one from now on. Costs what has changed. */
  advance(from: TypeSnapshot, to: TypeSnapshot): void {
    if (from === to) return;
    this.#progress?.advance(from, to);
    if (this.#delta !== undefined && this.#isTouched(from, to)) this.#delta = undefined;
  }

  /**
   * The difference between what the client should have and what it has; nothing is marked as sent yet. Of a client that follows
   * everything: as much of it as fits.
   *
   * @param maxBytes ends the list after the resource with which it has more
   */
  diff(snapshot: TypeSnapshot, maxBytes = Infinity): Delta {
    if (this.#wildcard) return this.#everything(snapshot).next(snapshot, this.#sent, maxBytes);
    this.#leaveWildcard(snapshot);
    this.#delta ??= this.#named(snapshot);
    return this.#delta;
  }

  /** By resource: the names of others by which it was asked for. */
  askedAs(resources: readonly VersionedResource[]): ReadonlyMap<string, readonly string[]> {
    if (this.#names.size === 0) return new Map();
    return new Map(
      resources.map(({ name, aliases }) => [name, aliases.filter((alias) => this.#names.has(alias))]),
    );
  }

  /** To be called with what was put on the wire. */
  markSent(delta: Delta): void {
    this.#delta = undefined;
    this.#progress?.markSent(delta, this.#sent);
    // Who follows everything has by now what it said it had; who said nothing has nothing to be forgotten.
    if (!this.#wildcard) for (const { name, version } of delta.upserts) this.#sent.set(name, version);
    else if (this.#sent.size > 0) for (const { name } of delta.upserts) this.#sent.delete(name);
    for (const name of delta.removed) {
      this.#sent.delete(name);
      if (this.#names.has(name)) this.#toldMissing.add(name);
    }
  }

  #everything(snapshot: TypeSnapshot): WildcardProgress {
    this.#progress ??= new WildcardProgress(snapshot, this.#sent);
    for (const name of this.#asked) {
      const found = snapshot.lookUp(name);
      for (const each of found.length > 0 ? found : [name]) {
        this.#progress.again(each);
        this.#sent.delete(each);
      }
    }
    this.#asked.clear();
    return this.#progress;
  }

  /** A client that followed everything and does no more has what it was sent until now. */
  #leaveWildcard(snapshot: TypeSnapshot): void {
    if (this.#progress === undefined) return;
    for (const [name, version] of this.#progress.held(snapshot, this.#sent)) this.#sent.set(name, version);
    this.#progress = undefined;
  }

  #named(snapshot: TypeSnapshot): Delta {
    const upserts: VersionedResource[] = [];
    const removed: string[] = [];
    const wanted = this.#wantedNames(snapshot, removed);
    const consider = (resource: VersionedResource | undefined): void => {
      if (resource !== undefined && this.#sent.get(resource.name) !== resource.version)
        upserts.push(resource);
    };
    for (const name of wanted) consider(snapshot.resources.get(name));
    for (const name of this.#sent.keys()) {
      const resource = snapshot.resources.get(name);
      if (resource === undefined) removed.push(name);
      // What came along with a service is followed for as long as the client has it, or it would go stale there.
      else if (!wanted.has(name)) consider(resource);
    }
    this.#wanted = wanted;
    return { upserts, removed: [...new Set(removed)] };
  }

  /** Whether a change may be about what this client has or asks for. */
  #isTouched(from: TypeSnapshot, to: TypeSnapshot): boolean {
    if (to.changes?.since !== from.serial) return true;
    return to.changes.names.some((name) => {
      if (this.#sent.has(name) || this.#names.has(name) || this.#wanted.has(name)) return true;
      const resource = to.resources.get(name);
      return (
        resource !== undefined &&
        (isOf(resource, this.#node) ||
          resource.aliases.some((alias) => this.#names.has(alias)) ||
          resource.members.some((service) => this.#wanted.has(service)))
      );
    });
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
        if (isMeant && this.#asked.has(name) && this.#sent.has(each)) this.#sent.set(each, TO_BE_TOLD_AGAIN);
      }
    }
    this.#asked.clear();
    if (this.#node !== undefined) for (const name of snapshot.ofNode(this.#node)) wanted.add(name);
    return wanted;
  }
}

function isOf(resource: VersionedResource, node: string | undefined): boolean {
  return node !== undefined && resource.node === node;
}
