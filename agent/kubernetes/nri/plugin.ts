/**
 * The agent as a plugin of the container runtime (NRI): it hears of each sandbox with its process, and holds a pod's
 * containers until the pod is enrolled. Without a runtime that speaks NRI it goes on looking for one.
 *
 * The runtime calls one plugin at a time, with a lock over all pods of the node, and throws a plugin out whose answer
 * is late, after which pods start unheld: every answer is given well within the runtime's time.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Backoff } from '../../../lib/backoff.ts';
import type { NetnsInode } from '../../../lib/linux/netns.ts';
import { errorText } from '../../../lib/loam-error.ts';
import {
  ConfigureRequestSchema,
  ConfigureResponseSchema,
  EmptySchema,
  Event,
  PodRequestSchema,
  StateChangeEventSchema,
  SynchronizeRequestSchema,
  SynchronizeResponseSchema,
  type PodSandbox,
} from '../../../proto/gen/nri/nri_pb.js';
import type { Clock } from '../../clock.ts';
import type { Log } from '../../log.ts';
import type { Sandbox, Sandboxes } from '../sandboxes.ts';
import { NriConnection, UNKNOWN_METHOD, type Call } from './connection.ts';

const RETRY = { initialMs: 200, maxMs: 5000 };
const DEFAULT_TIMEOUT_MS = 2000;
/** Of the runtime's time, how much a pod is held at most. */
const SHARE = 0.75;
const EVENTS = [
  Event.RUN_POD_SANDBOX,
  Event.STOP_POD_SANDBOX,
  Event.REMOVE_POD_SANDBOX,
  Event.CREATE_CONTAINER,
  Event.START_CONTAINER,
];
const NOTHING = toBinary(EmptySchema, create(EmptySchema));

/** A pod as the runtime knows it when one of its containers is about to be made. */
export interface HeldPod {
  /** As the kubelet has it: of a static pod, not the API's. */
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Undefined: the runtime does not tell them. */
  readonly labels: Readonly<Record<string, string>> | undefined;
  /** It is on the node's network. */
  readonly hostNetwork: boolean;
  /** The process of its sandbox; undefined: not told. */
  readonly pid: number | undefined;
  /** Its network namespace, where that is told in place of a process. */
  readonly netns?: NetnsInode;
}

export type NriState =
  | { readonly state: 'connected'; readonly runtime: string }
  | { readonly state: 'connecting'; readonly problem?: string };

export interface NriPluginOptions {
  readonly path: string;
  readonly sandboxes: Sandboxes;
  /**
   * Resolves when a container of the pod may be made.
   *
   * @throws what the pod's Event and the kubelet say as the reason why not
   */
  readonly hold: (pod: HeldPod, atMostMs: number) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

export class NriPlugin {
  readonly #options: NriPluginOptions;
  readonly #retry = new Backoff(RETRY);
  #connection: NriConnection | undefined;
  #timer: Disposable | undefined;
  #state: NriState = { state: 'connecting' };
  #timeoutMs = DEFAULT_TIMEOUT_MS;
  /** What the runtime has told of its sandboxes so far, while it tells of all. */
  #told: Sandbox[] = [];
  #logged = '';
  #closed = false;

  constructor(options: NriPluginOptions) {
    this.#options = options;
  }

  get state(): NriState {
    return this.#state;
  }

  start(): void {
    if (this.#closed) return;
    this.#told = [];
    this.#connection = new NriConnection({
      path: this.#options.path,
      name: 'loam',
      index: '10',
      answer: (call) => this.#answer(call),
      onRegistered: () => this.#retry.reset(),
      onClose: (reason) => this.#ended(reason),
    });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.[Symbol.dispose]();
    this.#connection?.close();
  }

  #ended(reason: Error | undefined): void {
    if (this.#closed) return;
    const problem = reason === undefined ? 'the runtime ended the connection' : errorText(reason);
    this.#state = { state: 'connecting', problem };
    if (problem !== this.#logged)
      this.#options.log.warn({ problem }, 'not connected with the container runtime by NRI');
    this.#logged = problem;
    this.#timer = this.#options.clock.after(this.#retry.next(), () => this.start());
  }

  async #answer({ method, payload, timeoutMs }: Call): Promise<Uint8Array | typeof UNKNOWN_METHOD> {
    const atMostMs = Math.min(this.#timeoutMs, timeoutMs ?? Infinity) * SHARE;
    switch (method) {
      case 'Configure':
        return this.#configure(payload);
      case 'Synchronize':
        return this.#synchronize(payload);
      case 'Shutdown':
        return NOTHING;
      case 'StateChange': {
        const { event, pod } = fromBinary(StateChangeEventSchema, payload);
        return this.#event(event, pod, atMostMs);
      }
      default: {
        const event = EVENT_OF[method];
        if (event === undefined) return UNKNOWN_METHOD;
        return this.#event(event, fromBinary(PodRequestSchema, payload).pod, atMostMs);
      }
    }
  }

  #configure(payload: Uint8Array): Uint8Array {
    const { runtimeName, runtimeVersion, requestTimeout } = fromBinary(ConfigureRequestSchema, payload);
    if (requestTimeout > 0n) this.#timeoutMs = Number(requestTimeout);
    const runtime = `${runtimeName} ${runtimeVersion}`;
    this.#state = { state: 'connected', runtime };
    this.#logged = '';
    this.#options.log.info(
      { runtime, timeoutMs: this.#timeoutMs },
      'connected with the container runtime by NRI',
    );
    const events = EVENTS.reduce((mask, event) => mask | (1 << (event - 1)), 0);
    return toBinary(ConfigureResponseSchema, create(ConfigureResponseSchema, { events }));
  }

  #synchronize(payload: Uint8Array): Uint8Array {
    const { pods, more } = fromBinary(SynchronizeRequestSchema, payload);
    this.#told.push(...pods.map(sandboxOf));
    if (!more) this.#options.sandboxes.replace(this.#told.splice(0));
    return toBinary(SynchronizeResponseSchema, create(SynchronizeResponseSchema, { more }));
  }

  async #event(event: Event, pod: PodSandbox | undefined, atMostMs: number): Promise<Uint8Array> {
    if (pod === undefined) return NOTHING;
    const { sandboxes, hold } = this.#options;
    switch (event) {
      case Event.RUN_POD_SANDBOX:
        // Nothing of the pod runs yet; while its image is fetched, it is enrolled.
        sandboxes.add(sandboxOf(pod));
        break;
      case Event.STOP_POD_SANDBOX:
      case Event.REMOVE_POD_SANDBOX:
        sandboxes.remove(pod.id);
        break;
      case Event.CREATE_CONTAINER:
      case Event.START_CONTAINER:
        sandboxes.add(sandboxOf(pod));
        await hold(heldPod(pod), atMostMs);
        break;
      default: // what we did not ask for
    }
    return NOTHING;
  }
}

const EVENT_OF: Readonly<Record<string, Event>> = {
  RunPodSandbox: Event.RUN_POD_SANDBOX,
  StopPodSandbox: Event.STOP_POD_SANDBOX,
  RemovePodSandbox: Event.REMOVE_POD_SANDBOX,
  CreateContainer: Event.CREATE_CONTAINER,
  StartContainer: Event.START_CONTAINER,
};

function sandboxOf({ id, uid, pid, ips }: PodSandbox): Sandbox {
  return { id, pod: uid, pid: pid === 0 ? undefined : pid, ips };
}

function heldPod({ uid, namespace, name, labels, linux, pid }: PodSandbox): HeldPod {
  // A runtime that tells a sandbox's namespaces leaves out the one of the network where it is the node's.
  const namespaces = linux?.namespaces ?? [];
  const hostNetwork = namespaces.length > 0 && !namespaces.some(({ type }) => type === 'network');
  return { uid, namespace, name, labels, hostNetwork, pid: pid === 0 ? undefined : pid };
}
