import { type KubeObject, objectKey, refOf } from '../model/objects.ts';

/** A condition as the Gateway API writes it into an object's status (metav1.Condition). */
export interface Condition {
  /** The parent that it is about: `Service shop/payments`; absent where it is about the object as a whole. */
  readonly parent?: string;
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
}

/** What an object came to. */
export interface Outcome {
  readonly state: 'accepted' | 'pending';
  readonly message: string;
  readonly compiledTo: readonly string[];
  readonly conditions?: readonly Condition[];
  /** Legal, and probably not meant: shown to a person who did not ask for this object. */
  readonly warnings?: readonly string[];
}

/** What one part of the compiler has to say about an object. */
export interface Note {
  /** What it waits for; any such note makes the whole object pending. */
  readonly pending?: string;
  readonly message?: string;
  readonly compiledTo?: readonly string[];
  readonly conditions?: readonly Condition[];
  /** Part of the message, too. */
  readonly warning?: string;
}

/** Takes what a part of the compiler has to say about an object. */
export type Noting = Pick<Outcomes, 'add'>;

/** Gathers what the parts of the compiler say about each object, in the order in which they say it. */
export class Outcomes {
  readonly #notes = new Map<string, Note[]>();
  #merged: ReadonlyMap<string, Outcome> | undefined;

  add(object: KubeObject, note: Note): void {
    this.#merged = undefined;
    const key = objectKey(refOf(object));
    const notes = this.#notes.get(key);
    if (notes === undefined) this.#notes.set(key, [note]);
    else notes.push(note);
  }

  /** Takes back what was said about an object. */
  forget(object: KubeObject): void {
    this.#merged = undefined;
    this.#notes.delete(objectKey(refOf(object)));
  }

  /** By objectKey: of one object alone, where there are many. */
  of(key: string): Outcome | undefined {
    const notes = this.#notes.get(key);
    return notes === undefined ? undefined : merge(notes);
  }

  /** By objectKey. Merged when somebody asks: most compilations are over before anybody does. */
  all(): ReadonlyMap<string, Outcome> {
    this.#merged ??= new Map([...this.#notes].map(([key, notes]) => [key, merge(notes)]));
    return this.#merged;
  }
}

function merge(notes: readonly Note[]): Outcome {
  const texts = notes.flatMap(({ pending, message, warning }) => [
    pending ?? '',
    message ?? '',
    warning ?? '',
  ]);
  const warnings = new Set(notes.flatMap(({ warning }) => warning ?? []));
  const conditions = notes.flatMap((note) => note.conditions ?? []);
  return {
    state: notes.some(({ pending }) => pending !== undefined) ? 'pending' : 'accepted',
    message: [...new Set(texts.filter((text) => text !== ''))].join('; '),
    compiledTo: [...new Set(notes.flatMap(({ compiledTo }) => compiledTo ?? []))],
    ...(conditions.length === 0 ? {} : { conditions }),
    ...(warnings.size === 0 ? {} : { warnings: [...warnings] }),
  };
}
