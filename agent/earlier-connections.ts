/**
 * Connections that a pod had made or taken before it was enrolled. Redirection begins with connect(), so they go on as
 * they are, in plaintext: they are counted and shown, and cut once the pod's grace is over.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { errorText } from '../lib/loam-error.ts';
import { isPrivateSource } from '../lib/linux/private-sources.ts';
import type { TcpConnection } from '../lib/linux/tcp-connections.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import type { OpenNetns } from './node-port.ts';
import { podName, type PodRecord } from './pod-record.ts';
import type { PodSpec } from './pod-source.ts';

/** Says how long: `30s`, `10m`, `2h`, `0s`, or `never`. */
export const GRACE_ANNOTATION = 'loam.dev/enrol-grace';
const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };
/** The namespaces are asked this often; only those that have some left. */
const LOOK_MS = 5000;
/** Of one pod, as many are shown. */
const SHOWN = 20;
/** Of tunnels between nodes (ambient-facts C2). */
const HBONE_PORT = 15008;

/** @returns milliseconds, Infinity for `never`; undefined for what is neither */
export function parseGrace(text: string): number | undefined {
  if (text === 'never') return Infinity;
  const [, number, unit = ''] = /^(\d{1,6})([smh])$/.exec(text) ?? [];
  const ms = UNITS[unit];
  return number === undefined || ms === undefined ? undefined : Number(number) * ms;
}

export interface EarlierStatus {
  readonly count: number;
  /** When they are cut (RFC 3339); absent: never. */
  readonly cutAt?: string;
  /** `LOCAL REMOTE`, the first few. */
  readonly connections: readonly string[];
}

interface Kept {
  /** When the pod was enrolled, in ms since the epoch. */
  readonly since: number;
  readonly sockets: Set<bigint>;
  shown: readonly string[];
}

export interface EarlierConnectionsOptions {
  readonly list: (netnsFd: number) => readonly TcpConnection[];
  /** False: it had ended by itself. */
  readonly destroy: (netnsFd: number, connection: TcpConnection) => boolean;
  /** Where they are remembered for the next agent. */
  readonly file: string;
  /** Of this start of the machine: cookies mean nothing after it. */
  readonly bootId: string;
  readonly graceMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

export class EarlierConnections {
  readonly #options: EarlierConnectionsOptions;
  readonly #kept: Map<bigint, Kept>;
  #cut = 0;
  #lookAt = 0;

  constructor(options: EarlierConnectionsOptions) {
    this.#options = options;
    this.#kept = this.#load();
  }

  /** How many were cut. */
  get cut(): number {
    return this.#cut;
  }

  /** A pod was enrolled this moment, and no proxy has it yet: what it is connected with now is from before. */
  enrolled({ spec, netns }: PodRecord): void {
    if (netns === undefined) return;
    try {
      const found = this.#options.list(netns.fd).filter((each) => isFromBefore(each, spec));
      if (found.length === 0) return;
      const sockets = new Set(found.map(({ cookie }) => cookie));
      this.#kept.set(netns.cookie, { since: this.#options.clock.now(), sockets, shown: shown(found) });
      this.#lookAt = 0;
      const fields = { pod: podName(spec), connections: found.length };
      this.#options.log.info(fields, 'connections from before the enrolment go on in plaintext');
      this.#save();
    } catch (error) {
      this.#options.log.warn(
        { pod: podName(spec), problem: errorText(error) },
        'connections cannot be listed',
      );
    }
  }

  /** Counts what is left, and cuts what has had its time. To be called now and then. */
  look(records: Iterable<PodRecord>): void {
    const now = this.#options.clock.now();
    if (this.#kept.size === 0 || now < this.#lookAt) return;
    this.#lookAt = now + LOOK_MS;
    const before = [...this.#kept.values()].reduce((sum, { sockets }) => sum + sockets.size, 0);
    const there = new Set<bigint>();
    for (const { spec, netns } of records) {
      const kept = netns && this.#kept.get(netns.cookie);
      if (netns === undefined || kept === undefined) continue;
      there.add(netns.cookie);
      try {
        this.#follow(spec, netns, kept, now);
      } catch (error) {
        const fields = { pod: podName(spec), problem: errorText(error) };
        this.#options.log.warn(fields, 'connections from before the enrolment cannot be followed');
      }
    }
    for (const [cookie, { sockets }] of this.#kept)
      if (!there.has(cookie) || sockets.size === 0) this.#kept.delete(cookie);
    if ([...this.#kept.values()].reduce((sum, { sockets }) => sum + sockets.size, 0) !== before) this.#save();
  }

  /** What a pod has left; undefined: nothing. */
  of({ spec, netns }: PodRecord): EarlierStatus | undefined {
    const kept = netns && this.#kept.get(netns.cookie);
    if (kept === undefined) return undefined;
    const cutAt = kept.since + this.#graceOf(spec);
    return {
      count: kept.sockets.size,
      ...(Number.isFinite(cutAt) && { cutAt: new Date(cutAt).toISOString() }),
      connections: kept.shown,
    };
  }

  #follow(spec: PodSpec, netns: OpenNetns, kept: Kept, now: number): void {
    const left = this.#options.list(netns.fd).filter(({ cookie }) => kept.sockets.has(cookie));
    const isOver = now >= kept.since + this.#graceOf(spec);
    for (const connection of isOver ? left : [])
      if (this.#options.destroy(netns.fd, connection)) this.#cut += 1;
    if (isOver && left.length > 0) {
      const fields = { pod: podName(spec), connections: shown(left), count: left.length };
      this.#options.log.warn(fields, 'cut connections from before the enrolment: their grace is over');
    }
    const still = isOver ? [] : left;
    kept.sockets.clear();
    for (const { cookie } of still) kept.sockets.add(cookie);
    kept.shown = shown(still);
  }

  #graceOf({ annotations }: PodSpec): number {
    const text = annotations[GRACE_ANNOTATION];
    return (text === undefined ? undefined : parseGrace(text)) ?? this.#options.graceMs;
  }

  #load(): Map<bigint, Kept> {
    const kept = new Map<bigint, Kept>();
    try {
      const { bootId, pods } = JSON.parse(readFileSync(this.#options.file, 'utf8')) as Remembered;
      if (bootId !== this.#options.bootId) return kept;
      for (const [cookie, { since, sockets }] of Object.entries(pods))
        kept.set(BigInt(cookie), { since, sockets: new Set(sockets.map(BigInt)), shown: [] });
      return kept;
    } catch {
      return new Map(); // there is none, or none of ours: nothing is cut then that should not be
    }
  }

  #save(): void {
    const pods: Record<string, Remembered['pods'][string]> = {};
    for (const [cookie, { since, sockets }] of this.#kept)
      pods[String(cookie)] = { since, sockets: [...sockets].map(String) };
    const { file, bootId, log } = this.#options;
    try {
      writeFileSync(`${file}.new`, JSON.stringify({ bootId, pods } satisfies Remembered), {
        mode: 0o600,
      });
      renameSync(`${file}.new`, file);
    } catch (error) {
      log.warn(
        { file, problem: errorText(error) },
        'connections from before cannot be remembered for the next agent',
      );
    }
  }
}

interface Remembered {
  readonly bootId: string;
  readonly pods: Readonly<Record<string, { readonly since: number; readonly sockets: readonly string[] }>>;
}

/**
 * Not within the pod, and none of the mesh's: turned to one of our listeners, which is dialled at the pod's own address, a
 * tunnel, or from ztunnel to the application. Of those there are some where a proxy outlived an enrolment, as after `umount`.
 */
function isFromBefore({ local, remote }: TcpConnection, { ips }: PodSpec): boolean {
  if (ips.includes(remote.ip) || [local.port, remote.port].includes(HBONE_PORT)) return false;
  return ![local.ip, remote.ip].some((ip) => ip.startsWith('127.') || ip === '::1' || isPrivateSource(ip));
}

function shown(connections: readonly TcpConnection[]): string[] {
  const end = ({ ip, port }: TcpConnection['local']): string =>
    ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
  return connections.slice(0, SHOWN).map(({ local, remote }) => `${end(local)} ${end(remote)}`);
}
