import type { HeldObject } from './accept.ts';
import type { AcceptedObject } from './source.ts';

/** An object counts as deleted when it has been missing for so long: a file being rewritten looks empty. */
export const CONFIRM_MS = 150;
/** Timers may fire a little early. */
const TIMER_SLACK_MS = 5;

interface Absence {
  /** When it was missed first, in ms. */
  readonly sinceMs: number;
  /** Of its file then; undefined when the file is gone too. */
  readonly signature: string | undefined;
}

/** Objects in force that the newest look at the manifests did not find, and that may yet come back. */
export class Absences {
  #absences: ReadonlyMap<string, Absence> = new Map();

  get size(): number {
    return this.#absences.size;
  }

  /**
   * Takes note of one look at the manifests and returns what was found together with what has not been missing for
   * long enough. Every other change counts at once.
   *
   * @param held what is in force, by objectKey
   * @param signatureOf tells a changed file from an unchanged one; undefined for a file that does not exist
   * @param nowMs on a clock that does not jump
   */
  withMissing(
    found: ReadonlyMap<string, AcceptedObject>,
    held: ReadonlyMap<string, HeldObject>,
    signatureOf: (file: string) => string | undefined,
    nowMs: number,
  ): Map<string, AcceptedObject> {
    const absences = new Map<string, Absence>();
    const objects = [...found];
    for (const [key, object] of held) {
      if (found.has(key)) continue;
      const signature = signatureOf(object.file);
      const before = this.#absences.get(key);
      // Changed again since it was missed: its writer is still at work.
      const sinceMs = before !== undefined && before.signature === signature ? before.sinceMs : nowMs;
      if (nowMs - sinceMs >= CONFIRM_MS - TIMER_SLACK_MS) continue;
      absences.set(key, { sinceMs, signature });
      objects.push([key, { lastGood: false, ...object }]);
    }
    this.#absences = absences;
    return new Map(objects.sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
