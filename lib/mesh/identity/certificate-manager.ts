import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Backoff } from '../../backoff.ts';
import { errorText } from '../../loam-error.ts';
import { spiffeUri, type Identity } from '../../spiffe.ts';
import { MeshError } from '../errors.ts';
import type { ControlLog } from '../xds/xds-client.ts';
import type { CertificateAuthority } from './ca-client.ts';
import type { CertificateBundle } from './certificate-bundle.ts';
import { parseCertificates, verifyChain } from './certificate-chain.ts';
import { SYSTEM_CLOCK, type WallClock } from './clock.ts';
import { makeKeyAndRequest } from './key-pair.ts';
import { RequestQueue, type Priority } from './request-queue.ts';
import { RootBundle } from './root-bundle.ts';

/** After a failure: 0.6 to 0.9 s, doubling, at most 150 s (ambient-facts C10). */
const BACKOFF = { initialMs: 750, maxMs: 150_000, factor: 2, jitter: 0.2 };
const DEFAULT_CONCURRENCY = 8;
const DEFAULT_TTL_SECONDS = 86_400;
/** A floor, so that a CA which gives tiny lifetimes is not asked in a loop. */
const MIN_RENEWAL_MS = 1_000;
/** A connection that waits does not sit out a long backoff, but does not hammer the CA either. */
const MIN_RETRY_FOR_CONNECTION_MS = 1_000;
const ROOT_FILE_POLL_MS = 30_000;

export interface CertificateManagerOptions {
  readonly ca: CertificateAuthority;
  /** PEM of the mesh's roots; read again from time to time. */
  readonly rootFile: string;
  readonly log: ControlLog;
  readonly ttlSeconds?: number;
  readonly concurrency?: number;
  readonly clock?: WallClock;
  readonly random?: () => number;
  /** For the metric of expiry: seconds since the epoch; undefined when the identity has no certificate any more. */
  readonly onExpiryChange?: (identity: string, notAfterSeconds: number | undefined) => void;
}

/** An identity as config_dump shows it; never with its key. */
export interface CertificateStatus {
  readonly identity: string;
  readonly state: 'valid' | 'pending' | 'failing';
  readonly users: number;
  readonly serialNumber?: string;
  readonly notBefore?: string;
  readonly notAfter?: string;
  readonly certChainPem?: string;
  readonly lastError?: string;
}

/** A certificate of an earlier process, unverified. */
export interface RestoredCertificate {
  /** SPIFFE URI. */
  readonly identity: string;
  readonly certChainPem: string;
  readonly keyPem: string;
  readonly rootsPem: string;
}

interface Entry {
  readonly identity: Identity;
  readonly uri: string;
  readonly backoff: Backoff;
  readonly waiters: Set<(bundle: CertificateBundle) => void>;
  users: number;
  requesting: boolean;
  lastAttempt: number;
  bundle?: CertificateBundle;
  lastError?: unknown;
  cancelAttempt?: () => void;
  cancelExpiry?: () => void;
}

type CertificateListener = (bundle: CertificateBundle) => void;
type RemovalListener = (identity: Identity, why: 'released' | 'expired') => void;

/**
 * Keeps a valid certificate for every identity that a pod of this node has: asked for at once, renewed at half of its
 * life, kept until it expires when renewal fails, forgotten with its last user (ambient-facts C10).
 */
export class CertificateManager {
  readonly #options: CertificateManagerOptions;
  readonly #clock: WallClock;
  readonly #entries = new Map<string, Entry>();
  readonly #queue: RequestQueue;
  readonly #roots = new RootBundle();
  readonly #certificateListeners = new Set<CertificateListener>();
  readonly #removalListeners = new Set<RemovalListener>();
  readonly #restored = new Map<string, RestoredCertificate>();
  #cancelPoll: (() => void) | undefined;
  #rootsPem = '';
  #stopped = false;

  constructor(options: CertificateManagerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#queue = new RequestQueue(options.concurrency ?? DEFAULT_CONCURRENCY);
    this.#pollRoots();
  }

  /** Counts a user of an identity and sees to it that there is a certificate. */
  acquire(identity: Identity): void {
    const uri = spiffeUri(identity);
    let entry = this.#entries.get(uri);
    if (!entry) {
      const { random } = this.#options;
      entry = {
        identity,
        uri,
        backoff: new Backoff(BACKOFF, random),
        waiters: new Set(),
        users: 0,
        requesting: false,
        lastAttempt: 0,
      };
      this.#entries.set(uri, entry);
      if (!this.#adopt(entry)) this.#enqueue(entry, 'warmup');
    } else if (entry.bundle === undefined && isRefused(entry.lastError)) {
      // The CA may have heard of it only now, as we have.
      this.#enqueue(entry, 'warmup');
    }
    entry.users++;
  }

  /** Ends one {@link acquire}; with the last, the certificate and its key are forgotten. */
  release(identity: Identity): void {
    const entry = this.#entries.get(spiffeUri(identity));
    if (!entry || --entry.users > 0) return;
    this.#entries.delete(entry.uri);
    this.#forget(entry);
    for (const listener of this.#removalListeners) listener(identity, 'released');
  }

  /**
   * Offers what an earlier process had: each is verified when its identity is acquired, and used in place of a first
   * request where it is good; it is renewed at half of its life as any other.
   */
  restore(certificates: readonly RestoredCertificate[]): void {
    for (const certificate of certificates) this.#restored.set(certificate.identity, certificate);
  }

  /** Forgets those that nobody has acquired, and their keys. */
  forgetRestored(): void {
    this.#restored.clear();
  }

  /** Calls back with each certificate that there is and each later one (also when the roots change). */
  onCertificate(listener: CertificateListener): () => void {
    this.#certificateListeners.add(listener);
    for (const { bundle } of this.#entries.values()) if (bundle) listener(bundle);
    return () => this.#certificateListeners.delete(listener);
  }

  /** Calls back when an identity has no certificate any more. */
  onRemoved(listener: RemovalListener): () => void {
    this.#removalListeners.add(listener);
    return () => this.#removalListeners.delete(listener);
  }

  /** The certificate of an identity, if there is a valid one. */
  current(identity: Identity): CertificateBundle | undefined {
    const bundle = this.#entries.get(spiffeUri(identity))?.bundle;
    const now = this.#clock.now();
    return bundle && bundle.notBefore <= now && now < bundle.notAfter ? bundle : undefined;
  }

  /** Says that a connection waits for this identity: it is asked for before others. */
  prioritize(identity: Identity): void {
    const entry = this.#entries.get(spiffeUri(identity));
    if (!entry || entry.requesting || this.current(identity)) return;
    const soonest = entry.lastAttempt + MIN_RETRY_FOR_CONNECTION_MS - this.#clock.now();
    if (soonest <= 0) this.#enqueue(entry, 'realtime');
    else this.#schedule(entry, soonest, 'realtime');
  }

  /**
   * The certificate of an identity, waited for when there is none yet.
   *
   * @throws MeshError CERTIFICATE_TIMEOUT, with the last failure as its cause
   */
  async waitFor(identity: Identity, timeoutMs: number, signal?: AbortSignal): Promise<CertificateBundle> {
    const now = this.current(identity);
    if (now) return now;
    const entry = this.#entries.get(spiffeUri(identity));
    if (!entry)
      throw new MeshError('CERTIFICATE_TIMEOUT', `identity ${spiffeUri(identity)} is of no pod of this node`);
    this.prioritize(identity);
    const { promise, resolve } = Promise.withResolvers<CertificateBundle | undefined>();
    const giveUp = () => resolve(undefined);
    const cancel = this.#clock.after(timeoutMs, giveUp);
    signal?.addEventListener('abort', giveUp, { once: true });
    entry.waiters.add(resolve);
    try {
      const bundle = signal?.aborted ? undefined : await promise;
      if (bundle) return bundle;
      throw new MeshError('CERTIFICATE_TIMEOUT', `no certificate for ${entry.uri} within ${timeoutMs} ms`, {
        ...(entry.lastError !== undefined && { cause: entry.lastError }),
      });
    } finally {
      entry.waiters.delete(resolve);
      signal?.removeEventListener('abort', giveUp);
      cancel();
    }
  }

  /** What there is, for config_dump. */
  snapshot(): CertificateStatus[] {
    return [...this.#entries.values()].map((entry) => {
      const { bundle, lastError } = entry;
      const valid = this.current(entry.identity) !== undefined;
      return {
        identity: entry.uri,
        state: valid ? 'valid' : lastError === undefined ? 'pending' : 'failing',
        users: entry.users,
        ...(bundle && {
          serialNumber: bundle.serialNumber,
          notBefore: new Date(bundle.notBefore).toISOString(),
          notAfter: new Date(bundle.notAfter).toISOString(),
          certChainPem: bundle.certChainPem,
        }),
        ...(lastError !== undefined && { lastError: errorText(lastError) }),
      };
    });
  }

  /** Ends requests and timers; certificates that were handed out stay usable. */
  stop(): void {
    this.#stopped = true;
    this.#cancelPoll?.();
    for (const entry of this.#entries.values()) this.#forget(entry);
    this.#entries.clear();
    this.#options.ca.close();
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  /** Reads the file of roots again; when they differ, every certificate is handed out again with the new ones. */
  async refreshRoots(): Promise<void> {
    const { rootFile, log } = this.#options;
    let isOneGone = false;
    try {
      isOneGone = this.#roots.setFile(await readFile(rootFile, 'utf8'));
    } catch (error) {
      log.warn(
        { error: errorText(error) },
        'certificates: the root file cannot be used, the last roots stay',
      );
    }
    this.#rootsChanged();
    if (isOneGone) this.#replaceOrphans();
  }

  /** A root has been taken out: what hangs from it is replaced now, and not only at half of its life. */
  #replaceOrphans(): void {
    for (const entry of this.#entries.values()) {
      if (entry.bundle === undefined || this.#roots.isOfFile(parseCertificates(entry.bundle.certChainPem)))
        continue;
      this.#options.log.info(
        { identity: entry.uri, serial: entry.bundle.serialNumber },
        'certificates: the root is not in the file any more, asking for another certificate',
      );
      this.#enqueue(entry, 'background');
    }
  }

  #pollRoots(): void {
    this.#cancelPoll = this.#clock.after(ROOT_FILE_POLL_MS, () => {
      this.#replaceFuture();
      void this.refreshRoots().then(() => {
        if (!this.#stopped) this.#pollRoots();
      });
    });
  }

  /** After the clock was set back, a certificate from before begins in the future: no peer would take it until then. */
  #replaceFuture(): void {
    for (const entry of this.#entries.values()) {
      if (entry.bundle && entry.bundle.notBefore > this.#clock.now()) this.#enqueue(entry, 'warmup');
    }
  }

  #rootsChanged(): void {
    const pem = this.#roots.pem(this.#clock.now());
    if (pem === this.#rootsPem) return;
    this.#rootsPem = pem;
    for (const entry of this.#entries.values()) {
      if (entry.bundle) this.#hand(entry, { ...entry.bundle, rootsPem: pem });
    }
  }

  /** @returns whether a restored certificate is in use now */
  #adopt(entry: Entry): boolean {
    const restored = this.#restored.get(entry.uri);
    if (restored === undefined) return false;
    this.#restored.delete(entry.uri);
    try {
      const now = this.#clock.now();
      const roots = parseCertificates(restored.rootsPem);
      const publicKey = createPublicKey(createPrivateKey(restored.keyPem));
      const wanted = { identity: entry.identity, publicKey };
      const chain = verifyChain([restored.certChainPem], wanted, roots, new Date(now));
      this.#roots.addDelivered(roots, chain.notAfter.getTime());
      this.#rootsChanged();
      this.#succeed(entry, {
        identity: entry.identity,
        certChainPem: chain.chainPem,
        keyPem: restored.keyPem,
        rootsPem: this.#rootsPem,
        notBefore: chain.notBefore.getTime(),
        notAfter: chain.notAfter.getTime(),
        serialNumber: chain.serialNumber,
      });
      return true;
    } catch (error) {
      this.#options.log.warn(
        { identity: entry.uri, error: errorText(error) },
        'certificates: a restored one cannot be used, asking for another',
      );
      return false;
    }
  }

  #enqueue(entry: Entry, priority: Priority): void {
    if (this.#stopped || entry.requesting) return;
    entry.cancelAttempt?.();
    this.#queue.add(entry.uri, priority, () => this.#request(entry));
  }

  #schedule(entry: Entry, ms: number, priority: Priority): void {
    entry.cancelAttempt?.();
    entry.cancelAttempt = this.#clock.after(ms, () => this.#enqueue(entry, priority));
  }

  async #request(entry: Entry): Promise<void> {
    entry.requesting = true;
    entry.lastAttempt = this.#clock.now();
    try {
      const bundle = await this.#obtain(entry);
      entry.requesting = false;
      if (this.#entries.get(entry.uri) === entry) this.#succeed(entry, bundle);
    } catch (error) {
      entry.requesting = false;
      if (this.#entries.get(entry.uri) === entry) this.#fail(entry, error);
    }
  }

  async #obtain({ identity }: Entry): Promise<CertificateBundle> {
    const { ca, ttlSeconds = DEFAULT_TTL_SECONDS } = this.#options;
    const { keyPem, publicKey, csrPem } = await makeKeyAndRequest(identity);
    const answer = await ca.createCertificate({ identity, csrPem, ttlSeconds });
    await this.refreshRoots();
    const now = this.#clock.now();
    const chain = verifyChain(answer, { identity, publicKey }, this.#roots.certificates(now), new Date(now));
    this.#roots.addDelivered(chain.roots, chain.notAfter.getTime());
    this.#rootsChanged();
    return {
      identity,
      certChainPem: chain.chainPem,
      keyPem,
      rootsPem: this.#rootsPem,
      notBefore: chain.notBefore.getTime(),
      notAfter: chain.notAfter.getTime(),
      serialNumber: chain.serialNumber,
    };
  }

  #succeed(entry: Entry, bundle: CertificateBundle): void {
    const now = this.#clock.now();
    entry.backoff.reset();
    delete entry.lastError;
    const halfLife = bundle.notBefore + (bundle.notAfter - bundle.notBefore) / 2;
    entry.cancelAttempt?.();
    entry.cancelAttempt = this.#clock.at(Math.max(now + MIN_RENEWAL_MS, halfLife), () =>
      this.#enqueue(entry, 'background'),
    );
    entry.cancelExpiry?.();
    entry.cancelExpiry = this.#clock.at(bundle.notAfter, () => this.#expire(entry));
    this.#options.onExpiryChange?.(entry.uri, Math.floor(bundle.notAfter / 1000));
    this.#options.log.info(
      { identity: entry.uri, serial: bundle.serialNumber, notAfter: new Date(bundle.notAfter).toISOString() },
      'certificates: obtained',
    );
    this.#hand(entry, bundle);
    for (const waiter of entry.waiters) waiter(bundle);
    this.#retryOthers();
  }

  #fail(entry: Entry, error: unknown): void {
    entry.lastError = error;
    const waitMs = entry.backoff.next();
    this.#options.log.warn(
      {
        identity: entry.uri,
        error: errorText(error),
        waitMs: Math.round(waitMs),
        valid: entry.bundle !== undefined,
      },
      'certificates: not obtained, trying again',
    );
    // With connections waiting, the first retries keep their place ahead of renewals.
    this.#schedule(
      entry,
      waitMs,
      entry.waiters.size > 0 ? 'realtime' : entry.bundle ? 'background' : 'warmup',
    );
  }

  /** The CA has answered one: those that found it away need not sit out their waits. */
  #retryOthers(): void {
    for (const entry of this.#entries.values()) {
      const { lastError } = entry;
      if (entry.requesting || !(lastError instanceof MeshError) || lastError.code !== 'CA_UNAVAILABLE')
        continue;
      this.#enqueue(entry, entry.bundle ? 'background' : 'warmup');
    }
  }

  #expire(entry: Entry): void {
    delete entry.bundle;
    this.#options.onExpiryChange?.(entry.uri, undefined);
    this.#options.log.warn(
      { identity: entry.uri },
      'certificates: expired, connections of this identity fail',
    );
    for (const listener of this.#removalListeners) listener(entry.identity, 'expired');
  }

  #hand(entry: Entry, bundle: CertificateBundle): void {
    entry.bundle = bundle;
    for (const listener of this.#certificateListeners) listener(bundle);
  }

  #forget(entry: Entry): void {
    entry.cancelAttempt?.();
    entry.cancelExpiry?.();
    this.#queue.remove(entry.uri);
    if (entry.bundle) this.#options.onExpiryChange?.(entry.uri, undefined);
    delete entry.bundle;
  }
}

function isRefused(error: unknown): boolean {
  return error instanceof MeshError && error.code === 'CA_REFUSED';
}
