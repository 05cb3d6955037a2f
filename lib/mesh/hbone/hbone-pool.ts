import type http2 from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { Backoff } from '../../backoff.ts';
import { connectSession, HboneTunnel, type TunnelTarget } from './hbone-tunnel.ts';
import type { Certificate } from './certificate-store.ts';
import type { Dialer } from './dialer.ts';
import { hostPortText } from './host-port.ts';
import { ProxyError } from './proxy-error.ts';

const FAILURE_BACKOFF = { initialMs: 50, maxMs: 1_000 };
/** A connection that ends sooner than this counts as failed: a peer that closes each new one must not be hammered. */
const SHORT_LIFE_MS = 1_000;
/** For so long one caller may find all places of new connections taken, or these gone, before it gives up. */
const MAX_WAIT_MS = 30_000;

/** Which connections may share a tunnel: same pod and identity at this end, same workload behind the same address at the other. */
export interface TunnelKey extends TunnelTarget {
  readonly sourcePodUid: string;
  readonly sourceIdentity: string;
  /** Not only the address: it may be given to another pod while a connection to the former is half-open. */
  readonly destinationUid: string;
}

/** What a tunnel of one source pod is made with. */
export interface TunnelSource {
  readonly sockets: Dialer;
  /** The pod's certificate as a TLS client. @throws ProxyError NO_CERTIFICATE */
  readonly certificate: () => Promise<Certificate>;
}

interface Entry {
  readonly key: TunnelKey;
  readonly tunnels: Set<HboneTunnel>;
  readonly backoff: Backoff;
  /** The one attempt under way, which all who wait for this entry share. */
  connecting: Promise<void> | undefined;
  notBefore: number;
  /** Set when the entry was evicted: an attempt that ends later must not be put to use. */
  evicted: boolean;
}

/** As often is a stream tried that was refused unseen: a peer that ends may be met once by each way that leads there. */
const ATTEMPTS = 3;

type Connect = typeof connectSession;

/** HBONE connections, shared by the connections of one pod to one workload. Nothing here blocks another entry. */
export class HbonePool {
  readonly #entries = new Map<string, Entry>();
  readonly #connect: Connect;

  constructor(connect: Connect = connectSession) {
    this.#connect = connect;
  }

  /**
   * Opens a CONNECT stream, on a pooled connection where there is one with room. When the connection is lost, while it is
   * made too, or the stream refused before an answer, no byte was sent yet, and it is tried again on another connection.
   *
   * @returns the stream, after status 200
   * @throws ProxyError
   */
  async open(
    key: TunnelKey,
    source: TunnelSource,
    headers: http2.OutgoingHttpHeaders,
  ): Promise<http2.ClientHttp2Stream> {
    let avoid: HboneTunnel | undefined;
    for (let attempt = 1; ; attempt += 1) {
      let tunnel: HboneTunnel | undefined;
      try {
        tunnel = await this.#checkout(key, source, avoid);
        return await tunnel.open(headers);
      } catch (error) {
        const again = error instanceof ProxyError && error.unused;
        if (!again || attempt === ATTEMPTS) throw error;
      }
      tunnel?.retire();
      avoid = tunnel ?? avoid;
    }
  }

  /** A workload left, or is another now: its tunnels take no new stream. */
  evictWorkload(destinationUid: string): void {
    this.#evict(
      (key) => key.destinationUid === destinationUid,
      (tunnel) => tunnel.retire(),
    );
  }

  /** A pod of this node left: its tunnels are cut. */
  evictPod(sourcePodUid: string): void {
    this.#evict(
      (key) => key.sourcePodUid === sourcePodUid,
      (tunnel) => tunnel.destroy(),
    );
  }

  /** Closes each when its last stream ends. Those who wait for a connection get it: they were accepted already. */
  drain(): void {
    for (const entry of this.#entries.values()) {
      for (const tunnel of [...entry.tunnels]) tunnel.retire();
    }
  }

  /** Connections and streams in use, for admin. */
  stats(): { readonly tunnels: number; readonly streams: number } {
    let tunnels = 0;
    let streams = 0;
    for (const entry of this.#entries.values()) {
      for (const tunnel of entry.tunnels) {
        tunnels += 1;
        streams += tunnel.streams;
      }
    }
    return { tunnels, streams };
  }

  async #checkout(
    key: TunnelKey,
    source: TunnelSource,
    avoid: HboneTunnel | undefined,
  ): Promise<HboneTunnel> {
    const giveUpAt = performance.now() + MAX_WAIT_MS;
    do {
      const entry = this.#entry(key);
      for (const tunnel of [...entry.tunnels]) {
        if (tunnel.isExpired) tunnel.retire();
        if (tunnel === avoid || !tunnel.hasRoom) continue;
        tunnel.reserve();
        return tunnel;
      }
      entry.connecting ??= this.#grow(entry, source).finally(() => {
        entry.connecting = undefined;
        this.#forgetIfEmpty(entry);
      });
      // Whoever wakes first takes a place synchronously; those who find none left go round again.
      await entry.connecting;
    } while (performance.now() < giveUpAt);
    throw new ProxyError('CONNECT_FAILED', 'no connection to the destination stays open');
  }

  async #grow(entry: Entry, source: TunnelSource): Promise<void> {
    const wait = entry.notBefore - performance.now();
    if (wait > 0) await sleep(wait, undefined, { ref: false });
    try {
      const certificate = await source.certificate();
      const session = await this.#connect(source.sockets, entry.key, certificate);
      if (entry.evicted) {
        session.close();
        throw new ProxyError('POD_GONE', 'the pod or its destination left while connecting');
      }
      const since = performance.now();
      entry.tunnels.add(
        new HboneTunnel(session, certificate.bundle.notAfter, (tunnel) => {
          entry.tunnels.delete(tunnel);
          if (performance.now() - since < SHORT_LIFE_MS)
            entry.notBefore = performance.now() + entry.backoff.next();
          else entry.backoff.reset();
          this.#forgetIfEmpty(entry);
        }),
      );
    } catch (error) {
      entry.notBefore = performance.now() + entry.backoff.next();
      throw error;
    }
  }

  #entry(key: TunnelKey): Entry {
    const id = keyId(key);
    let entry = this.#entries.get(id);
    if (entry === undefined) {
      entry = {
        key,
        tunnels: new Set(),
        backoff: new Backoff(FAILURE_BACKOFF),
        connecting: undefined,
        notBefore: 0,
        evicted: false,
      };
      this.#entries.set(id, entry);
    }
    return entry;
  }

  /** An entry that failed is kept until its backoff is over, else each new connection would try at once. */
  #forgetIfEmpty(entry: Entry): void {
    if (entry.tunnels.size > 0 || entry.connecting !== undefined) return;
    const id = keyId(entry.key);
    if (this.#entries.get(id) !== entry) return;
    const wait = entry.notBefore - performance.now();
    if (wait <= 0) this.#entries.delete(id);
    else setTimeout(() => this.#forgetIfEmpty(entry), wait + 1).unref();
  }

  #evict(matches: (key: TunnelKey) => boolean, end: (tunnel: HboneTunnel) => void): void {
    for (const [id, entry] of this.#entries) {
      if (!matches(entry.key)) continue;
      entry.evicted = true;
      this.#entries.delete(id);
      for (const tunnel of [...entry.tunnels]) end(tunnel);
    }
  }
}

/** Length-prefixed parts would be needed only if a part could hold the separator; none may contain a line feed. */
function keyId(key: TunnelKey): string {
  return [
    key.sourcePodUid,
    key.sourceIdentity,
    key.destinationUid,
    hostPortText(key.address),
    ...key.expectedIdentities,
  ].join('\n');
}
