import type { Logger } from 'pino';
import type { KubeClient } from '../../../lib/kubernetes/client.ts';
import { hasStatus } from '../../../lib/kubernetes/errors.ts';
import { errorText } from '../../../lib/loam-error.ts';

export interface LeaderElectionOptions {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  /** Of the Lease. */
  readonly name: string;
  /** Of this replica; no two have the same. */
  readonly replica: string;
  /** Called when this replica comes to lead; the signal aborts when it does not lead any more. */
  readonly onLead: (signal: AbortSignal) => void;
  readonly log: Logger;
  readonly times?: Partial<LeaseTimes>;
}

/** In milliseconds, in the order and with the margins that client-go's defaults have. */
export interface LeaseTimes {
  /** A Lease that nobody renewed for so long is free. */
  readonly leaseMs: number;
  /** Who could not renew for so long leads no more: sooner than others may take over. */
  readonly deadlineMs: number;
  readonly retryMs: number;
}

interface LeaseSpec {
  readonly holderIdentity?: string | null;
  readonly leaseDurationSeconds?: number | null;
  readonly acquireTime?: string | null;
  readonly renewTime?: string | null;
  readonly leaseTransitions?: number | null;
}

interface Lease {
  readonly metadata: { readonly name: string; readonly resourceVersion?: string };
  readonly spec?: LeaseSpec;
}

const TIMES: LeaseTimes = { leaseMs: 15_000, deadlineMs: 10_000, retryMs: 2_000 };
const MS_PER_S = 1_000;

/**
 * Of all replicas lets one lead, by a Lease (coordination.k8s.io/v1). No clock but the own is trusted, and that only to measure
 * how long a Lease has been seen unchanged: what stands in it is compared, never read as a time.
 */
export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #times: LeaseTimes;
  readonly #collection: string;
  #timer: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #leading: AbortController | undefined;
  /** The Lease as it was seen last, and since when it is so. */
  #seen = { record: '', sinceMs: -Infinity };
  #lease: Lease | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#times = { ...TIMES, ...options.times };
    this.#collection = `/apis/coordination.k8s.io/v1/namespaces/${options.namespace}/leases`;
  }

  get leads(): boolean {
    return this.#leading !== undefined;
  }

  start(): void {
    this.#running = this.#round();
  }

  /** Gives the Lease back, so that another replica need not wait for it to end. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
    const led = this.leads;
    this.#endLeading('stopping');
    if (led && this.#lease !== undefined) {
      const spec = { ...this.#lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: now() };
      // Where it fails, the others wait until it ends.
      await this.#put({ ...this.#lease, spec }).catch((error: unknown) =>
        this.#options.log.warn({ reason: errorText(error) }, 'the Lease could not be given back'),
      );
    }
  }

  async #round(): Promise<void> {
    const { log, name } = this.#options;
    // The deadline counts from before the request: others count from when they see it.
    const startedMs = performance.now();
    try {
      if (await this.#acquire()) {
        clearTimeout(this.#deadline);
        const leftMs = this.#times.deadlineMs - (performance.now() - startedMs);
        if (leftMs <= 0) this.#endLeading('the API server answers too late');
        else {
          this.#deadline = setTimeout(() => this.#endLeading('the Lease could not be renewed'), leftMs);
          this.#beginLeading();
        }
      } else this.#endLeading('another replica leads');
    } catch (error) {
      log.warn({ lease: name, reason: errorText(error) }, 'the Lease cannot be read or written');
    }
    if (this.#closed) return;
    const jitterMs = Math.random() * this.#times.retryMs * 0.2;
    this.#timer = setTimeout(() => {
      this.#running = this.#round();
    }, this.#times.retryMs + jitterMs);
  }

  /** Takes or renews the Lease. @returns false when it is another's */
  async #acquire(): Promise<boolean> {
    const { client, name, namespace, replica } = this.#options;
    const { leaseMs } = this.#times;
    const own = {
      holderIdentity: replica,
      leaseDurationSeconds: Math.ceil(leaseMs / MS_PER_S),
      renewTime: now(),
    };
    try {
      const lease = await client.get<Lease>(`${this.#collection}/${name}`);
      const { spec = {} } = lease;
      this.#see(lease);
      const holder = spec.holderIdentity ?? '';
      const isFree = holder === '' || performance.now() - this.#seen.sinceMs >= this.#durationOf(spec);
      if (holder !== replica && !isFree) return false;
      const isRenewal = holder === replica && this.leads;
      const transitions = spec.leaseTransitions ?? 0;
      await this.#put({
        ...lease,
        spec: isRenewal
          ? { ...spec, ...own }
          : { ...spec, ...own, acquireTime: own.renewTime, leaseTransitions: transitions + 1 },
      });
    } catch (error) {
      if (hasStatus(error, 409)) return false;
      if (!hasStatus(error, 404)) throw error;
      const made = {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name, namespace },
        spec: { ...own, acquireTime: own.renewTime, leaseTransitions: 0 },
      };
      try {
        this.#lease = await client.create<Lease>(this.#collection, made);
      } catch (failed) {
        if (hasStatus(failed, 409)) return false;
        throw failed;
      }
    }
    return true;
  }

  #durationOf({ leaseDurationSeconds }: LeaseSpec): number {
    const asked = (leaseDurationSeconds ?? 0) * MS_PER_S;
    return asked > 0 ? asked : this.#times.leaseMs;
  }

  #see(lease: Lease): void {
    const record = JSON.stringify(lease.spec ?? {});
    if (record !== this.#seen.record) this.#seen = { record, sinceMs: performance.now() };
  }

  async #put(lease: Lease): Promise<void> {
    this.#lease = await this.#options.client.replace<Lease>(
      `${this.#collection}/${this.#options.name}`,
      lease,
    );
    this.#see(this.#lease);
  }

  #beginLeading(): void {
    if (this.#leading !== undefined || this.#closed) return;
    this.#leading = new AbortController();
    this.#options.log.info({ replica: this.#options.replica }, 'this replica leads now');
    this.#options.onLead(this.#leading.signal);
  }

  #endLeading(reason: string): void {
    clearTimeout(this.#deadline);
    if (this.#leading === undefined) return;
    this.#leading.abort();
    this.#leading = undefined;
    this.#options.log.info({ replica: this.#options.replica, reason }, 'this replica leads no more');
  }
}

/** metav1.MicroTime. */
function now(): string {
  return new Date().toISOString().replace('Z', '000Z');
}
