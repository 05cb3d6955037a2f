/** Tells the person who made a pod, by an Event on it, why it is not in the mesh. Best effort: nothing waits for it. */
import type { KubeClient } from '../../lib/kubernetes/client.ts';
import { errorText } from '../../lib/loam-error.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';

/** The same Event is written again this often at most. */
const REPEAT_MS = 60_000;
/** Events are remembered for so long after they were written last, to be counted and not written anew. */
const FORGET_MS = 30 * 60_000;
const MAX_REMEMBERED = 1024;
/** What the API takes of a message, in characters. */
const MAX_MESSAGE = 1000;

export interface EventPod {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

export interface PodEvent {
  readonly type: 'Normal' | 'Warning';
  /** One word, as Kubernetes has them. */
  readonly reason: string;
  readonly message: string;
}

interface Written {
  readonly name: Promise<string | undefined>;
  count: number;
  at: number;
}

export interface PodEventsOptions {
  readonly client: Pick<KubeClient, 'create' | 'patch'>;
  readonly node: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class PodEvents {
  readonly #options: PodEventsOptions;
  readonly #written = new Map<string, Written>();

  constructor(options: PodEventsOptions) {
    this.#options = options;
  }

  tell(pod: EventPod, event: PodEvent): void {
    const now = this.#options.clock.now();
    const key = JSON.stringify([pod.uid, event.reason, event.message]);
    const before = this.#written.get(key);
    if (before === undefined) {
      this.#makeRoom(now);
      this.#written.set(key, { name: this.#create(pod, event), count: 1, at: now });
      return;
    }
    before.count += 1;
    if (now - before.at < REPEAT_MS) return;
    before.at = now;
    void this.#count(pod, before);
  }

  #makeRoom(now: number): void {
    for (const [key, { at }] of this.#written) {
      if (now - at < FORGET_MS && this.#written.size < MAX_REMEMBERED) return;
      this.#written.delete(key);
    }
  }

  async #create(pod: EventPod, { type, reason, message }: PodEvent): Promise<string | undefined> {
    const { client, node } = this.#options;
    const time = new Date().toISOString();
    const { namespace } = pod;
    return this.#attempt(async () => {
      const made = await client.create<{ metadata: { name: string } }>(
        `/api/v1/namespaces/${namespace}/events`,
        {
          apiVersion: 'v1',
          kind: 'Event',
          metadata: { generateName: `${pod.name}.`.slice(0, 200), namespace },
          involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name: pod.name, uid: pod.uid },
          type,
          reason,
          message: message.slice(0, MAX_MESSAGE),
          source: { component: 'loam-agent', host: node },
          reportingComponent: 'loam-agent',
          reportingInstance: node,
          firstTimestamp: time,
          lastTimestamp: time,
          count: 1,
        },
      );
      return made.metadata.name;
    });
  }

  async #count({ namespace }: EventPod, written: Written): Promise<void> {
    const name = await written.name;
    if (name === undefined) return;
    const { count } = written;
    const body = { count, lastTimestamp: new Date().toISOString() };
    await this.#attempt(() =>
      this.#options.client.patch(
        `/api/v1/namespaces/${namespace}/events/${name}`,
        body,
        'application/merge-patch+json',
      ),
    );
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#options.log.debug({ problem: errorText(error) }, 'an Event could not be written');
      return undefined;
    }
  }
}
