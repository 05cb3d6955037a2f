/**
 * Hands workloads to the node proxies that connect: new ones to the latest, removals to all (ambient-facts C5). Says
 * which of them accepts connections (see takeover.ts).
 */
import { SeqpacketServer, type SeqpacketConnection } from '../../lib/linux/seqpacket.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { HeldState } from './held-state.ts';
import { Session, type MapFds } from './session.ts';
import { rolesOf } from './takeover.ts';
import type { Handover, HandoverState, WorkloadHandover } from './workload.ts';

/** During an upgrade there are two; more than a few means that something goes round in circles. */
export const MAX_PROXIES = 8;
/** New connections taken in a second, as Istio's agent limits them: a proxy that crashes in a loop costs little. */
const CONNECTIONS_PER_SECOND = 5;
/** One line in this time about connections turned away, with their number. */
const REFUSED_LOG_MS = 1000;

export interface ZdsServerOptions {
  readonly path: string;
  readonly maps: MapFds;
  readonly clock: Clock;
  readonly log: Log;
  /** A workload's state, or the set of proxies, changed. */
  onProgress(): void;
  /** The server cannot go on. */
  onFailure(error: Error): void;
}

export class ZdsServer implements WorkloadHandover {
  readonly #options: ZdsServerOptions;
  readonly #server: SeqpacketServer;
  /** The oldest process first. */
  readonly #sessions: Session[] = [];
  readonly #strangers = new Set<Session>();
  readonly #held: HeldState;
  /** Undefined until the pods of the node are known. */
  #wanted: Handover | undefined;
  #refused = 0;
  #recent: number[] = [];
  #refusedTimer: Disposable | undefined;

  private constructor(options: ZdsServerOptions) {
    this.#options = options;
    this.#held = new HeldState(options.clock);
    this.#server = SeqpacketServer.listen({
      path: options.path,
      maxConnections: MAX_PROXIES,
      onConnection: (connection) => this.#connected(connection),
      onRefused: (error) => this.#turnedAway(error),
      onFailure: (error) => options.onFailure(error),
    });
  }

  /** @throws SeqpacketError SEQPACKET_IN_USE: another agent listens there; SEQPACKET_PATH; SystemCallError */
  static listen(options: ZdsServerOptions): ZdsServer {
    return new ZdsServer(options);
  }

  sync(handover: Handover): void {
    this.#wanted = handover;
    this.#tellAll();
  }

  stateOf(uid: string): HandoverState {
    return this.#current?.stateOf(uid) ?? { state: 'no-proxy' };
  }

  /** True when the proxy that serves has acknowledged a whole snapshot. */
  get live(): boolean {
    return this.#current?.live ?? false;
  }

  /** The proxies that said hello, the youngest last. */
  describe(): ReturnType<Session['describe']>[] {
    return this.#sessions.map((session) => session.describe());
  }

  async close(): Promise<void> {
    this.#refusedTimer?.[Symbol.dispose]();
    for (const session of [...this.#sessions, ...this.#strangers]) session.close();
    await this.#server.close();
    this.#held.close();
  }

  #connected(connection: SeqpacketConnection): void {
    const { maps, clock, log } = this.#options;
    this.#recent = this.#recent.filter((at) => at > clock.now() - 1000);
    if (this.#recent.length >= CONNECTIONS_PER_SECOND) {
      this.#turnedAway(new Error(`more than ${CONNECTIONS_PER_SECOND} connections in a second`));
      connection.close();
      return;
    }
    this.#recent.push(clock.now());
    log.info({ pid: connection.peer.pid }, 'a node proxy connected');
    const session = new Session({
      connection,
      maps,
      held: this.#held,
      clock,
      log,
      onHello: () => {
        this.#strangers.delete(session);
        this.#sessions.push(session);
        this.#sessions.sort((a, b) => (a.started < b.started ? -1 : a.started > b.started ? 1 : 0));
        this.#tellAll();
      },
      onProgress: () => {
        this.#tellAll();
        this.#options.onProgress();
      },
      onClose: () => {
        this.#strangers.delete(session);
        const at = this.#sessions.indexOf(session);
        if (at >= 0) this.#sessions.splice(at, 1);
        // The one before is the latest again, and gets what it missed.
        this.#tellAll();
        this.#options.onProgress();
      },
    });
    this.#strangers.add(session);
  }

  /** The one that serves, or will. */
  get #current(): Session | undefined {
    const settled = ({ proxy }: Session): boolean => proxy.serving || !proxy.takeover;
    return this.#sessions.findLast(settled) ?? this.#sessions.at(-1);
  }

  #tellAll(): void {
    const sessions = [...this.#sessions];
    const roles = rolesOf(sessions.map(({ proxy }) => proxy));
    for (const [i, session] of sessions.entries())
      session.want(this.#wanted, roles[i] ?? 'stay', i === sessions.length - 1);
  }

  #turnedAway(error: Error): void {
    this.#refused += 1;
    if (this.#refusedTimer !== undefined) return;
    this.#options.log.warn({ error: error.message }, 'a connection of a node proxy was turned away');
    this.#refused = 0;
    this.#refusedTimer = this.#options.clock.after(REFUSED_LOG_MS, () => {
      this.#refusedTimer = undefined;
      if (this.#refused > 0) this.#options.log.warn({ more: this.#refused }, 'and more were turned away');
      this.#refused = 0;
    });
  }
}
