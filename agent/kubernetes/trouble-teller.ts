/** Says, by Events on them, which running pods are not in the mesh although their labels ask for it. */
import type { Clock } from '../clock.ts';
import type { PodRecord } from '../pod-record.ts';
import type { LeftAlone } from '../pod-source.ts';
import type { PodEvents } from './pod-events.ts';

/** A pod that starts is without this or that for a moment; only what lasts is told. */
const LASTS_MS = 10_000;

export interface TroubleTellerOptions {
  readonly events: Pick<PodEvents, 'tell'>;
  readonly clock: Clock;
}

export class TroubleTeller {
  readonly #options: TroubleTellerOptions;
  /** Since when pods are in trouble, by uid. */
  #since = new Map<string, number>();
  #left = new Set<string>();

  constructor(options: TroubleTellerOptions) {
    this.#options = options;
  }

  look(records: Iterable<PodRecord>, leftAlone: readonly LeftAlone[]): void {
    const { events, clock } = this.#options;
    const now = clock.now();
    const since = new Map<string, number>();
    for (const { spec, problem, state } of records) {
      if (problem === undefined || state === 'verified') continue;
      const began = this.#since.get(spec.uid) ?? now;
      since.set(spec.uid, began);
      if (now - began < LASTS_MS) continue;
      const message = `The pod is not in the mesh: ${problem.message}`;
      events.tell(spec, { type: 'Warning', reason: 'NotInMesh', message });
    }
    this.#since = since;
    for (const { uid, pod, why } of leftAlone) {
      if (this.#left.has(uid)) continue;
      const [namespace = '', name = ''] = pod.split('/');
      const message = `The pod's labels ask for the mesh, and it is left alone: ${why}`;
      events.tell({ uid, namespace, name }, { type: 'Warning', reason: 'NotInMesh', message });
    }
    this.#left = new Set(leftAlone.map(({ uid }) => uid));
  }
}
