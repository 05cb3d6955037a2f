import { setTimeout as sleep } from 'node:timers/promises';
import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { Backoff } from '../../lib/backoff.ts';
import { closeQuietly } from '../../lib/linux/libc.ts';
import { isNetns } from '../../lib/linux/netns.ts';
import { SeqpacketClient, type Packet, type SeqpacketConnection } from '../../lib/linux/seqpacket.ts';
import { errorText } from '../../lib/loam-error.ts';
import {
  Version,
  WorkloadRequestSchema,
  WorkloadResponseSchema,
  ZdsHelloSchema,
  type AddWorkload,
} from '../../proto/gen/zds/zds_pb.js';
import { canonicalIp } from '../../lib/mesh/state/ip.ts';
import { MeshError } from '../../lib/mesh/errors.ts';
import type { Log } from '../proxy/mesh.ts';
import type { PodDirectory } from './pod-directory.ts';

const BACKOFF = { initialMs: 10, maxMs: 15_000 };
/** A name of Kubernetes (RFC 1123), which ends up in identities, labels and log lines. */
const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;
/** One of each family. */
const MAX_IPS = 2;
const UID = /^[A-Za-z0-9._-]{1,64}$/;

export type ZdsStatus =
  | { readonly state: 'connecting'; readonly lastError: string | undefined }
  | { readonly state: 'snapshot' }
  | { readonly state: 'live' };

/** What the agent can tell a ztunnel of its part beside others (see takeover.ts). */
export interface TakeoverRole {
  readonly serving: boolean;
  serve(): Promise<void>;
  yield(): Promise<void>;
  /** The agent holds this for the ztunnel that begins, or nothing. Takes over the descriptor. */
  heldState(fd: number | undefined, ageMs: number): void;
  /** An agent has given its whole snapshot. */
  live(): void;
}

type Connect = (
  path: string,
) => Promise<Pick<SeqpacketConnection, 'send' | 'onPacket' | 'onClose' | 'close'>>;

/**
 * Takes pods from the node's agent (ambient-facts C5): says hello, acknowledges each message when it is carried out,
 * and connects again for ever. Pods are kept while the agent is away; its next snapshot says which still exist.
 */
export class ZdsClient {
  readonly #path: string;
  readonly #pods: PodDirectory;
  readonly #role: TakeoverRole;
  readonly #started: bigint;
  readonly #log: Log;
  readonly #connect: Connect;
  readonly #stop = new AbortController();
  readonly #backoff = new Backoff(BACKOFF);
  #status: ZdsStatus = { state: 'connecting', lastError: undefined };
  #everLive = false;
  #current: Pick<SeqpacketConnection, 'send' | 'close'> | undefined;
  #ready = false;
  #leaving = false;

  /** @param started when this process started, by the machine's monotonic clock in nanoseconds */
  constructor(
    path: string,
    pods: PodDirectory,
    role: TakeoverRole,
    started: bigint,
    log: Log,
    connect: Connect = (p) => SeqpacketClient.connect(p),
  ) {
    this.#path = path;
    this.#pods = pods;
    this.#role = role;
    this.#started = started;
    this.#log = log;
    this.#connect = connect;
  }

  get status(): ZdsStatus {
    return this.#status;
  }

  /** Whether a whole snapshot was ever carried out. */
  get everLive(): boolean {
    return this.#everLive;
  }

  start(): void {
    void this.#run();
  }

  /** Tells the agent, this one and each later one, that this ztunnel could take over. */
  announceReady(): void {
    this.#ready = true;
    if (this.#status.state === 'live') this.#say({ case: 'loamReady', value: {} });
  }

  /**
   * Tells the agent that this ztunnel ends. Removed pods are still heard of, as long as this connection lasts; there is
   * none after it.
   */
  leave(): void {
    this.#leaving = true;
    if (this.#current === undefined) this.stop();
    else this.#say({ case: 'loamLeaving', value: {} });
  }

  /**
   * Leaves the agent a state to hold, in place of the last; undefined: none.
   *
   * @param fd stays the caller's
   */
  async leaveState(fd: number | undefined): Promise<void> {
    await this.#current?.send(encode({ case: 'loamState', value: {} }), fd === undefined ? [] : [fd]);
  }

  stop(): void {
    this.#stop.abort();
    this.#current?.close();
  }

  /** A connection that breaks meanwhile is made again, and what is true then is told anew. */
  #say(payload: Answer): void {
    this.#current?.send(encode(payload)).catch(() => undefined);
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      let reason: unknown = 'the agent closed the connection';
      try {
        const error = await this.#session();
        if (error !== undefined) reason = error;
      } catch (error) {
        reason = error;
      }
      if (this.#stop.signal.aborted || this.#leaving) return;
      const lastError = errorText(reason);
      const waitMs = this.#backoff.next();
      this.#status = { state: 'connecting', lastError };
      this.#log.debug('zds: not connected', {
        path: this.#path,
        error: lastError,
        waitMs: Math.round(waitMs),
      });
      await sleep(waitMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  /** One connection from its beginning to its end. */
  async #session(): Promise<Error | undefined> {
    const connection = await this.#connect(this.#path);
    const end = Promise.withResolvers<Error | undefined>();
    this.#current = connection;
    connection.onClose((error) => {
      end.resolve(error);
    });
    this.#status = { state: 'snapshot' };
    const named = new Set<string>();
    // The agent sends one message at a time, and we answer in order whatever it does.
    let queue = Promise.resolve();
    connection.onPacket((packet) => {
      queue = queue.then(async () => {
        try {
          const error = await this.#handle(packet, named);
          await connection.send(encode({ case: 'ack', value: { error } }));
        } catch (error) {
          end.resolve(error as Error);
          connection.close();
        }
      });
    });
    const hello = create(ZdsHelloSchema, {
      ...{ version: Version.V1, loamHandover: true, loamTakeover: true },
      ...{ loamServing: this.#role.serving, loamStarted: this.#started },
    });
    try {
      await connection.send(toBinary(ZdsHelloSchema, hello));
      this.#log.info('zds: connected to the agent', { path: this.#path });
      return await end.promise;
    } finally {
      connection.close();
      this.#current = undefined;
      await queue;
    }
  }

  /**
   * Carries out one message.
   *
   * @returns the text for the acknowledgement; empty for success
   * @throws MeshError ZDS for what is no message: the connection is then given up
   */
  async #handle(packet: Packet, named: Set<string>): Promise<string> {
    const { fds } = packet;
    let request;
    try {
      request = fromBinary(WorkloadRequestSchema, packet.data).payload;
    } catch (cause) {
      closeQuietly(...fds);
      throw new MeshError('ZDS', 'the agent sent what is no message', { cause });
    }
    if (request.case === 'add') return this.#add(request.value, fds, named);
    if (request.case === 'loamMaps') {
      const [ownSockets, originalDst] = fds;
      if (ownSockets === undefined || originalDst === undefined || fds.length !== 2) {
        closeQuietly(...fds);
        return `expected 2 descriptors of maps, got ${fds.length}`;
      }
      try {
        this.#pods.setMaps({ ownSockets, originalDst });
      } catch (error) {
        closeQuietly(...fds);
        return errorText(error);
      }
      if (request.value.takeover) return '';
      this.#role.heldState(undefined, 0);
      await this.#role.serve();
      return '';
    }
    if (request.case === 'loamState') {
      const [fd, ...rest] = fds;
      closeQuietly(...rest);
      this.#role.heldState(fd, Number(request.value.ageMs));
      return '';
    }
    closeQuietly(...fds);
    switch (request.case) {
      case 'keep':
        named.add(request.value.uid);
        return '';
      case 'del':
        named.delete(request.value.uid);
        if (!this.#pods.remove(request.value.uid, request.value.loamReleased ? 'outside' : 'gone'))
          this.#log.debug('zds: unknown pod', { pod: request.value.uid });
        return '';
      case 'snapshotSent': {
        const gone = this.#pods.retain(named);
        this.#backoff.reset();
        this.#everLive = true;
        this.#status = { state: 'live' };
        this.#log.info('zds: snapshot complete', { pods: named.size, gone: gone.length });
        if (this.#ready) this.#say({ case: 'loamReady', value: {} });
        this.#role.live();
        return '';
      }
      case 'loamServe':
        return outcome(this.#role.serve());
      case 'loamYield':
        return outcome(this.#role.yield());
      case undefined:
        return 'a message of an unknown kind';
    }
  }

  async #add(message: AddWorkload, fds: readonly number[], named: Set<string>): Promise<string> {
    const [netns, outbound, plaintext, hbone] = fds;
    const info = message.workloadInfo;
    const refuse = (why: string): string => {
      closeQuietly(...fds);
      return why;
    };
    if (
      netns === undefined ||
      outbound === undefined ||
      plaintext === undefined ||
      hbone === undefined ||
      fds.length !== 4
    ) {
      return refuse(`expected 4 descriptors (netns and 3 listeners), got ${fds.length}`);
    }
    if (!isNetns(netns)) return refuse('the first descriptor is no network namespace');
    if (!UID.test(message.uid)) return refuse('the uid is not of a pod');
    if (info === undefined || ![info.name, info.namespace, info.serviceAccount].every((n) => NAME.test(n))) {
      return refuse('name, namespace and service account must be names of Kubernetes');
    }
    const ips = message.loamIps.map(canonicalIp);
    if (ips.length > MAX_IPS || !ips.every((ip) => ip !== undefined))
      return refuse(`its addresses must be at most ${MAX_IPS}, and addresses`);
    named.add(message.uid);
    const { name, namespace, serviceAccount } = info;
    try {
      await this.#pods.add(
        { uid: message.uid, name, namespace, serviceAccount, ...(ips.length > 0 && { ips }) },
        { netns, outbound, plaintext, hbone },
      );
      return '';
    } catch (error) {
      this.#log.error('zds: pod cannot be served', { pod: message.uid, error: errorText(error) });
      return errorText(error);
    }
  }
}

type Answer = NonNullable<MessageInitShape<typeof WorkloadResponseSchema>['payload']>;

function encode(payload: Answer): Uint8Array {
  return toBinary(WorkloadResponseSchema, create(WorkloadResponseSchema, { payload }));
}

/** The text for an acknowledgement. */
function outcome(work: Promise<void>): Promise<string> {
  return work.then(() => '', errorText);
}
