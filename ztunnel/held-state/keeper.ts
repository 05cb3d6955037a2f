import { closeQuietly } from '../../lib/linux/libc.ts';
import { sealedMemory } from '../../lib/linux/memfd.ts';
import { errorText } from '../../lib/loam-error.ts';
import type { CertificateBundle } from '../../lib/mesh/identity/certificate-bundle.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import type { RawDelta, RawResource } from '../../lib/mesh/xds/subscription.ts';
import type { Log } from '../proxy/mesh.ts';
import { encodeHeldState, HELD_STATE_MAX_BYTES, type HeldStateOwner } from './format.ts';

/** Many changes in this time are handed over at once. */
const COALESCE_MS = 500;
/** Between two times, so many times as long as one took: large states are handed over less often. */
const REST_FACTOR = 20;

export interface KeeperOptions {
  readonly owner: HeldStateOwner;
  /** Gives the sealed state to the agent, who keeps a duplicate; undefined: it shall keep none. */
  readonly hand: (fd: number | undefined) => Promise<void>;
  readonly log: Log;
  /** For tests. */
  readonly maxBytes?: number;
}

/**
 * Collects what the next ztunnel of the node would need were controller and CA away: resources as the control plane
 * sent them, and certificates with keys. Hands it to the agent, in memory, whenever it changed, while this ztunnel is
 * the one that serves.
 */
export class HeldStateKeeper {
  readonly #options: KeeperOptions;
  readonly #types = new Map<string, Map<string, RawResource>>();
  readonly #certificates = new Map<string, CertificateBundle>();
  #bytes = 0;
  #active = false;
  #changed = false;
  #overLogged = false;
  #restUntil = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** A delta of one type is in force. */
  resources(typeUrl: string, { upserts, removed }: RawDelta): void {
    const known = this.#types.get(typeUrl) ?? new Map<string, RawResource>();
    this.#types.set(typeUrl, known);
    for (const name of removed) this.#forget(known, name);
    for (const resource of upserts) {
      this.#forget(known, resource.name);
      // A copy: the bytes lie in a message that may be much larger.
      known.set(resource.name, { ...resource, value: resource.value.slice() });
      this.#bytes += sizeOf(resource);
    }
    this.#touch();
  }

  certificate(bundle: CertificateBundle): void {
    this.#certificates.set(spiffeUri(bundle.identity), bundle);
    this.#touch();
  }

  certificateGone(identityUri: string): void {
    if (this.#certificates.delete(identityUri)) this.#touch();
  }

  /** Begins to hand over, all of it first: an agent knows nothing at its beginning. Or ends it. */
  setActive(active: boolean): void {
    this.#active = active;
    if (active) this.#touch();
    else this.stop();
  }

  /** Whether the agent holds all that there is by now: until then, the next ztunnel would go by what was a moment ago. */
  get isHanded(): boolean {
    return this.#active && !this.#changed && this.#timer === undefined;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #forget(known: Map<string, RawResource>, name: string): void {
    const former = known.get(name);
    if (former === undefined) return;
    known.delete(name);
    this.#bytes -= sizeOf(former);
  }

  #touch(): void {
    this.#changed = true;
    if (!this.#active || this.#timer !== undefined) return;
    const wait = Math.max(COALESCE_MS, this.#restUntil - performance.now());
    this.#timer = setTimeout(() => void this.#handOver(), wait).unref();
  }

  async #handOver(): Promise<void> {
    const began = performance.now();
    this.#changed = false;
    const { hand, log } = this.#options;
    let fd: number | undefined;
    try {
      fd = this.#seal();
      await hand(fd);
    } catch (error) {
      log.warn('held state: not handed to the agent', { error: errorText(error) });
    } finally {
      if (fd !== undefined) closeQuietly(fd);
    }
    const now = performance.now();
    this.#restUntil = now + REST_FACTOR * (now - began);
    this.#timer = undefined;
    if (this.#changed) this.#touch();
  }

  /** @returns undefined when there is too much of it */
  #seal(): number | undefined {
    const { owner, log, maxBytes = HELD_STATE_MAX_BYTES } = this.#options;
    const state = this.#bytes > maxBytes ? undefined : encodeHeldState(owner, this.#content());
    if (state !== undefined && state.length <= maxBytes) return sealedMemory('loam-held-state', state);
    if (!this.#overLogged)
      log.warn('held state: too large, so that nothing is held for the next ztunnel', {
        bytes: state?.length ?? this.#bytes,
        allowed: maxBytes,
      });
    this.#overLogged = true;
    return undefined;
  }

  #content(): Parameters<typeof encodeHeldState>[1] {
    return {
      types: [...this.#types].map(([typeUrl, resources]) => ({
        typeUrl,
        resources: [...resources.values()],
      })),
      certificates: [...this.#certificates].map(([identity, { certChainPem, keyPem, rootsPem }]) => ({
        ...{ identity, certChainPem, keyPem, rootsPem },
      })),
    };
  }
}

function sizeOf({ name, version, value }: RawResource): number {
  return name.length + version.length + value.length + 16;
}
