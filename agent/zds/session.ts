/**
 * One node proxy's connection. It is told what it shall have and sends the differences, one message in flight,
 * each to be acknowledged before a deadline. Whatever the proxy does wrong ends its connection and nothing else.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Backoff } from '../../lib/backoff.ts';
import { closeQuietly, dup } from '../../lib/linux/libc.ts';
import type { Packet, SeqpacketConnection } from '../../lib/linux/seqpacket.ts';
import { errorText } from '../../lib/loam-error.ts';
import {
  Version,
  WorkloadRequestSchema,
  WorkloadResponseSchema,
  ZdsHelloSchema,
} from '../../proto/gen/zds/zds_pb.js';
import { AgentError } from '../agent-error.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { HeldState } from './held-state.ts';
import { decode, type Message } from './message.ts';
import type { ProxyState, Role } from './takeover.ts';
import type { Handover, HandoverState, Workload } from './workload.ts';

export const HELLO_DEADLINE_MS = 5000;
export const ACK_DEADLINE_MS = 10_000;
/** As Istio's agent: a proxy that refuses a workload is asked again, at the latest every 5 s. */
const RETRY = { initialMs: 100, maxMs: 5000 };
const MAX_SHOWN_ERROR = 500;

/** The BPF maps that a proxy of ours gets (LoamMaps). */
export interface MapFds {
  readonly ownSockets: number;
  readonly originalDst: number;
}

export interface SessionOptions {
  readonly connection: Pick<SeqpacketConnection, 'peer' | 'send' | 'onPacket' | 'onClose' | 'close'>;
  readonly maps: MapFds;
  /** What the proxy that serves leaves for the next one. */
  readonly held: HeldState;
  readonly clock: Clock;
  readonly log: Log;
  /** The proxy said hello: from now on it counts. */
  onHello(): void;
  /** Something that `stateOf` or `proxy` shows may have changed. */
  onProgress(): void;
  /** Over; called once. */
  onClose(): void;
}

/** What the proxy was last told of a workload. */
interface Told {
  readonly generation: number;
  answer: 'open' | 'accepted' | { readonly refused: string; readonly retryAt: number };
  readonly backoff: Backoff;
}

const NOBODY: Handover = { workloads: new Map(), keep: new Set(), released: new Set() };

export class Session {
  readonly #options: SessionOptions;
  #phase: 'hello' | 'maps' | 'state' | 'snapshot' | 'live' | 'closed' = 'hello';
  #loamHandover = false;
  #takeover = false;
  #started = 0n;
  #ready = false;
  #serving = false;
  #leaving = false;
  #role: Role = 'stay';
  /** Only then is it given workloads that come after its snapshot. */
  #takesNew = false;
  /** Undefined until it is known which pods there are: a snapshot without them would take all from a proxy that serves them. */
  #given: Handover | undefined;
  readonly #told = new Map<string, Told>();
  readonly #kept = new Set<string>();
  #inFlight: Message | undefined;
  #deadline: Disposable | undefined;
  #retry: Disposable | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#armDeadline(HELLO_DEADLINE_MS, 'no hello');
    options.connection.onClose((error) => this.#ended(error));
    options.connection.onPacket((packet) => this.#receive(packet));
  }

  /** True once the proxy has acknowledged the whole snapshot. */
  get live(): boolean {
    return this.#phase === 'live';
  }

  /** When the proxy's process started, by the machine's monotonic clock; of one that does not tell, when it said hello. */
  get started(): bigint {
    return this.#started;
  }

  /** What decides about its role. */
  get proxy(): ProxyState {
    return {
      takeover: this.#takeover,
      live: this.live,
      ready: this.#ready,
      serving: this.#takeover ? this.#serving : this.live,
      leaving: this.#leaving,
      pods: new Map([...this.#told].map(([uid, { answer }]) => [uid, answer === 'accepted'])),
    };
  }

  /** For status. */
  describe(): { pid: number; phase: string; loamHandover: boolean; workloads: number; role: string } {
    const pid = this.#options.connection.peer.pid;
    const { serving, ready } = this.proxy;
    const idle = ready ? 'standing by' : 'getting ready';
    const role = this.#leaving ? 'leaving' : serving ? 'serving' : idle;
    return {
      ...{ pid, phase: this.#phase, role },
      loamHandover: this.#loamHandover,
      workloads: this.#told.size,
    };
  }

  /** Sets what this proxy shall have and be; `latest`: no other is younger, so that new workloads go to it. */
  want(handover: Handover | undefined, role: Role, latest: boolean): void {
    this.#given = handover;
    this.#role = role;
    this.#takesNew = latest || role === 'serve' || this.#serving;
    this.#pump();
  }

  get #wanted(): Handover {
    return this.#given ?? NOBODY;
  }

  stateOf(uid: string): HandoverState {
    const workload = this.#wanted.workloads.get(uid);
    const told = this.#told.get(uid);
    if (told === undefined || told.generation !== workload?.generation || told.answer === 'open') {
      return { state: 'pending' };
    }
    if (told.answer === 'accepted') return { state: 'acknowledged' };
    return { state: 'refused', message: told.answer.refused };
  }

  /** Ends the connection. */
  close(): void {
    this.#options.connection.close();
  }

  #receive(packet: Packet): void {
    try {
      if (this.#phase === 'closed') return;
      if (this.#phase === 'hello') this.#hello(packet);
      else this.#response(packet);
    } catch (error) {
      this.#fail(error);
      return;
    } finally {
      // Its state apart, which was duplicated, a proxy has no descriptors to give.
      closeQuietly(...packet.fds);
    }
    this.#pump();
  }

  #hello(packet: Packet): void {
    const hello = decode(() => fromBinary(ZdsHelloSchema, packet.data), 'a hello');
    if (hello.version !== Version.V1) {
      throw new AgentError('ZDS_PROTOCOL', `hello of version ${hello.version}; only 1 is known`);
    }
    this.#disarmDeadline();
    this.#loamHandover = hello.loamHandover;
    this.#takeover = hello.loamHandover && hello.loamTakeover;
    this.#serving = this.#takeover && hello.loamServing;
    this.#started = this.#takeover ? hello.loamStarted : process.hrtime.bigint();
    this.#phase = hello.loamHandover ? 'maps' : 'snapshot';
    this.#options.onHello();
  }

  #response(packet: Packet): void {
    const { payload } = decode(() => fromBinary(WorkloadResponseSchema, packet.data), 'an acknowledgement');
    switch (payload.case) {
      case 'ack':
        this.#ack(payload.value.error);
        return;
      case 'loamState':
        this.#keepState(packet.fds);
        return;
      case 'loamReady':
        this.#ready = true;
        break;
      case 'loamLeaving':
        this.#leaving = true;
        break;
      case undefined:
        throw new AgentError('ZDS_PROTOCOL', 'an answer without an acknowledgement');
    }
    this.#options.log.info(
      { pid: this.#options.connection.peer.pid, says: payload.case },
      'a node proxy speaks',
    );
    this.#options.onProgress();
  }

  /** Only of the one that serves: another may know less. */
  #keepState([fd]: readonly number[]): void {
    if (this.#serving) this.#options.held.put(this, fd === undefined ? undefined : dup(fd));
  }

  #ack(error: string): void {
    const message = this.#inFlight;
    if (message === undefined) {
      throw new AgentError('ZDS_PROTOCOL', 'an acknowledgement while nothing was to be acknowledged');
    }
    this.#inFlight = undefined;
    this.#disarmDeadline();
    message.acknowledged(error.slice(0, MAX_SHOWN_ERROR));
    this.#options.onProgress();
  }

  /** Sends the next message, if it is time for one. */
  #pump(): void {
    if (this.#inFlight !== undefined) return;
    const message = this.#next();
    if (message === undefined) {
      this.#armRetry();
      return;
    }
    this.#inFlight = message;
    this.#armDeadline(ACK_DEADLINE_MS, `no acknowledgement of ${message.payload.case ?? ''}`);
    const data = toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, { payload: message.payload }));
    this.#options.connection.send(data, message.fds).catch((error: unknown) => this.#fail(error));
  }

  /** The most urgent difference between what the proxy has and what it shall have. */
  #next(): Message | undefined {
    switch (this.#phase) {
      case 'hello':
      case 'closed':
        return undefined;
      case 'maps':
        return this.#maps();
      case 'state':
        return this.#state();
      case 'snapshot':
        if (this.#given === undefined) return undefined;
        return this.#del() ?? this.#add() ?? this.#keep() ?? this.#snapshotSent();
      case 'live':
        return this.#del() ?? this.#add() ?? this.#roleMessage();
    }
  }

  #maps(): Message {
    const { ownSockets, originalDst } = this.#options.maps;
    return {
      payload: { case: 'loamMaps', value: { takeover: true } },
      fds: [ownSockets, originalDst],
      acknowledged: (error) => {
        if (error !== '') throw new AgentError('ZDS_PROTOCOL', `the proxy refused the maps: ${error}`);
        this.#phase = this.#takeover ? 'state' : 'snapshot';
      },
    };
  }

  #state(): Message {
    const held = this.#options.held.current;
    return {
      payload: { case: 'loamState', value: { ageMs: BigInt(Math.round(held?.ageMs ?? 0)) } },
      fds: held === undefined ? [] : [held.fd],
      // Whether the proxy has a use for it is its own affair.
      acknowledged: () => (this.#phase = 'snapshot'),
    };
  }

  #del(): Message | undefined {
    for (const uid of [...this.#told.keys(), ...this.#kept]) {
      if (this.#wanted.workloads.has(uid) || this.#wanted.keep.has(uid)) continue;
      return {
        payload: {
          case: 'del',
          value: { uid, loamReleased: this.#loamHandover && this.#wanted.released.has(uid) },
        },
        fds: [],
        acknowledged: (error) => {
          if (error !== '') this.#options.log.warn({ uid, error }, 'the proxy refused to drop a workload');
          this.#told.delete(uid);
          this.#kept.delete(uid);
        },
      };
    }
    return undefined;
  }

  #add(): Message | undefined {
    // A snapshot is whole, whoever gets it: a proxy drops what is missing from it.
    if (!this.#takesNew && this.#phase === 'live') return undefined;
    const now = this.#options.clock.now();
    for (const workload of this.#wanted.workloads.values()) {
      const told = this.#told.get(workload.uid);
      if (told === undefined || told.generation !== workload.generation || dueAgain(told, now)) {
        return this.#addMessage(workload, told);
      }
    }
    return undefined;
  }

  #addMessage(workload: Workload, before: Told | undefined): Message {
    const { uid, name, namespace, serviceAccount, ips, netnsFd, listeners, generation } = workload;
    const backoff = before?.backoff ?? new Backoff(RETRY);
    const told: Told = { generation, answer: 'open', backoff };
    this.#told.set(uid, told);
    const given = this.#loamHandover ? [listeners.outbound, listeners.plaintext, listeners.hbone] : [];
    return {
      payload: {
        case: 'add',
        value: {
          ...{ uid, workloadInfo: { name, namespace, serviceAccount } },
          loamIps: this.#loamHandover ? [...ips] : [],
        },
      },
      fds: [netnsFd, ...given],
      acknowledged: (error) => {
        if (error === '') {
          told.answer = 'accepted';
          backoff.reset();
          return;
        }
        this.#options.log.warn({ uid, pod: `${namespace}/${name}`, error }, 'the proxy refused a workload');
        told.answer = { refused: error, retryAt: this.#options.clock.now() + backoff.next() };
      },
    };
  }

  #keep(): Message | undefined {
    for (const uid of this.#wanted.keep) {
      if (this.#kept.has(uid)) continue;
      this.#kept.add(uid);
      const acknowledged = (): void => undefined;
      return { payload: { case: 'keep', value: { uid } }, fds: [], acknowledged };
    }
    return undefined;
  }

  #snapshotSent(): Message {
    return {
      payload: { case: 'snapshotSent', value: {} },
      fds: [],
      acknowledged: (error) => {
        if (error !== '') throw new AgentError('ZDS_PROTOCOL', `the proxy refused the snapshot: ${error}`);
        this.#phase = 'live';
      },
    };
  }

  #roleMessage(): Message | undefined {
    const serve = this.#role === 'serve';
    if (!this.#takeover || this.#role === 'stay' || this.#serving === serve) return undefined;
    return {
      payload: serve ? { case: 'loamServe', value: {} } : { case: 'loamYield', value: {} },
      fds: [],
      acknowledged: (error) => {
        if (error !== '')
          throw new AgentError('ZDS_PROTOCOL', `the proxy refused to ${this.#role}: ${error}`);
        this.#serving = serve;
        const what = serve ? 'a node proxy accepts connections now' : 'a node proxy accepts no more';
        this.#options.log.info({ pid: this.#options.connection.peer.pid }, what);
      },
    };
  }

  /** Wakes up when a refused workload is due again. */
  #armRetry(): void {
    this.#retry?.[Symbol.dispose]();
    this.#retry = undefined;
    if (this.#phase === 'closed' || !this.#takesNew) return;
    const dues = [...this.#told.values()].flatMap(({ answer }) =>
      typeof answer === 'object' ? [answer.retryAt] : [],
    );
    if (dues.length === 0) return;
    const wait = Math.max(1, Math.min(...dues) - this.#options.clock.now());
    this.#retry = this.#options.clock.after(wait, () => this.#pump());
  }

  #armDeadline(ms: number, what: string): void {
    this.#disarmDeadline();
    this.#deadline = this.#options.clock.after(ms, () => {
      this.#fail(new AgentError('ZDS_DEADLINE', `${what} in ${ms / 1000} s`));
    });
  }

  #disarmDeadline(): void {
    this.#deadline?.[Symbol.dispose]();
    this.#deadline = undefined;
  }

  #fail(error: unknown): void {
    if (this.#phase === 'closed') return;
    const { pid } = this.#options.connection.peer;
    this.#options.log.warn({ pid, error: errorText(error) }, 'ending the connection of a node proxy');
    this.#options.connection.close();
    this.#ended(undefined);
  }

  #ended(error: Error | undefined): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#disarmDeadline();
    this.#retry?.[Symbol.dispose]();
    const { pid } = this.#options.connection.peer;
    this.#options.log.info({ pid, error: error && errorText(error) }, 'a node proxy has gone');
    this.#options.held.gone(this);
    this.#options.onClose();
  }
}

function dueAgain(told: Told, now: number): boolean {
  return typeof told.answer === 'object' && told.answer.retryAt <= now;
}
