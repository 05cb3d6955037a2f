import type { DeltaDiscoveryResponse, Resource } from '../../../proto/gen/envoy/discovery_pb.js';
import { errorText } from '../../loam-error.ts';
import type { Delta } from '../state/model.ts';
import { shown } from '../state/resource-error.ts';

/** How many resources are handed on at once: a large response must not hold an event loop for its whole length. */
const CHUNK_RESOURCES = 1000;
/** How many broken resources a refusal names, and how long its text gets. */
const MAX_NAMED_ERRORS = 20;
const MAX_NACK_CHARS = 4096;

/** One resource, understood; errors are values that are wrong although the rest is in force. */
export interface Decoded<T> {
  readonly value: T;
  readonly errors: readonly Error[];
}

export interface SubscriptionOptions<T> {
  readonly typeUrl: string;
  /** @throws Error when the resource cannot be taken at all */
  readonly decode: (name: string, bytes: Uint8Array) => Decoded<T>;
  /** Takes a delta into force; the acknowledgement waits for it. */
  readonly apply: (delta: Delta<T>) => void | Promise<void>;
}

/** A resource as the server sent it. */
export interface RawResource {
  readonly name: string;
  readonly version: string;
  readonly value: Uint8Array;
}

/** What changed of one type, as the server sent it. */
export type RawDelta = Delta<RawResource>;

/** What became of a response. */
export interface Outcome {
  readonly applied: number;
  readonly removed: number;
  /** The same, as it was sent. */
  readonly raw: RawDelta;
  /** Set when the response is to be refused; names the resources that are broken. The others apply. */
  readonly nack?: string;
}

/**
 * One resource type's part of the discovery protocol: decodes, applies, and remembers versions across
 * connections, so that a server can leave out what has not changed and name what has gone.
 */
export class Subscription<T> {
  readonly #options: SubscriptionOptions<T>;
  /** Names in force → their versions; empty where the server should send it again. */
  readonly #versions = new Map<string, string>();
  #answered = false;

  constructor(options: SubscriptionOptions<T>) {
    this.#options = options;
  }

  get typeUrl(): string {
    return this.#options.typeUrl;
  }

  /** Whether a first response was applied. */
  get answered(): boolean {
    return this.#answered;
  }

  /** How many resources are in force. */
  get size(): number {
    return this.#versions.size;
  }

  /** For the first request on a new connection. */
  initialVersions(): Record<string, string> {
    // A null prototype: names come from the network.
    const versions = Object.create(null) as Record<string, string>;
    for (const [name, version] of this.#versions) versions[name] = version;
    return versions;
  }

  /**
   * Applies a response. Rejects only when the state could not be changed; what is wrong with resources is in the outcome.
   *
   * @param yieldLoop called between chunks
   */
  async handle(response: DeltaDiscoveryResponse, yieldLoop: () => Promise<unknown>): Promise<Outcome> {
    const errors = new ErrorList();
    const raw: RawResource[] = [];
    for (let at = 0; at < response.resources.length; at += CHUNK_RESOURCES) {
      if (at > 0) await yieldLoop();
      const chunk = response.resources.slice(at, at + CHUNK_RESOURCES);
      const taken = chunk.flatMap((resource) => this.#take(resource, errors));
      if (taken.length === 0) continue;
      await this.#options.apply({ upserts: taken.map((t) => t.value), removed: [] });
      for (const { name, version } of taken) this.#versions.set(name, version);
      raw.push(...taken.map((t) => t.raw));
    }
    const removed = response.removedResources;
    if (removed.length > 0) {
      await this.#options.apply({ upserts: [], removed });
      for (const name of removed) this.#versions.delete(name);
    }
    this.#answered = true;
    const nack = errors.text();
    return {
      ...{ applied: raw.length, removed: removed.length, raw: { upserts: raw, removed } },
      ...(nack !== undefined && { nack }),
    };
  }

  /**
   * Takes resources into force that an earlier process had, before the first connection: the server is then asked
   * for what has changed since. What cannot be read is left out, so that the server sends it.
   */
  async restore(resources: readonly RawResource[]): Promise<void> {
    const taken = resources.flatMap(({ name, version, value }) => {
      try {
        return [{ name, version, value: this.#options.decode(name, value).value }];
      } catch {
        return [];
      }
    });
    await this.#options.apply({ upserts: taken.map((t) => t.value), removed: [] });
    for (const { name, version } of taken) this.#versions.set(name, version);
  }

  /** These are out of force: a server that has them is not told that we do. */
  forget(names: readonly string[]): void {
    for (const name of names) this.#versions.delete(name);
  }

  #take(
    resource: Resource,
    errors: ErrorList,
  ): { name: string; version: string; value: T; raw: RawResource }[] {
    const { name } = resource;
    try {
      const any = resource.resource;
      if (any?.typeUrl !== this.#options.typeUrl) {
        throw new Error(`${shown(name)}: type ${shown(any?.typeUrl)}, allowed: ${this.#options.typeUrl}`);
      }
      const decoded = this.#options.decode(name, any.value);
      for (const error of decoded.errors) errors.add(error);
      const version = decoded.errors.length > 0 ? '' : resource.version;
      return [{ name, version, value: decoded.value, raw: { name, version, value: any.value } }];
    } catch (error) {
      // What was in force under this name stays; its old version stays too, so the server will try again.
      errors.add(error);
      return [];
    }
  }
}

/** A subscription of whatever type, as the stream needs it. */
export type AnySubscription = Pick<
  Subscription<unknown>,
  'typeUrl' | 'answered' | 'size' | 'initialVersions' | 'handle' | 'restore'
>;

class ErrorList {
  readonly #texts: string[] = [];
  #count = 0;

  add(error: unknown): void {
    if (this.#count++ < MAX_NAMED_ERRORS) this.#texts.push(errorText(error));
  }

  text(): string | undefined {
    if (this.#count === 0) return undefined;
    const more = this.#count - this.#texts.length;
    const text = this.#texts.join('; ') + (more > 0 ? `; and ${more} more` : '');
    return text.slice(0, MAX_NACK_CHARS);
  }
}
