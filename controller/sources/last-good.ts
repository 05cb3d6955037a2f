import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { KINDS, objectKey, refOf } from '../model/objects.ts';
import { fieldText, validateSchema } from '../schema/validate.ts';
import { writeAtomically } from '../state-dir.ts';
import type { HeldObject } from './accept.ts';
import { LAST_ASSIGNMENTS_FILE } from './assignments.ts';
import { readLimited } from './read-limited.ts';

const FILE = 'last-good.json';
const LAYOUT = 1;
const MAX_BYTES = 64 * 1024 * 1024;

export type LoadedLastGood =
  | { readonly state: 'none' }
  | { readonly state: 'loaded'; readonly objects: Map<string, HeldObject> }
  /** There was such a state and it cannot be used: what was in force is unknown. */
  | { readonly state: 'unreadable'; readonly reason: string };

/**
 * The accepted objects on disk, so that a broken manifest and a restart together do not lose a policy.
 * Mode 0600: manifests may hold secrets in annotations or environment variables.
 */
export class LastGoodStore {
  readonly #path: string;
  /** Whether a controller has served from this directory before: then a state that is missing was lost. */
  readonly #wasInUse: boolean;

  constructor(stateDir: string) {
    this.#wasInUse = existsSync(join(stateDir, LAST_ASSIGNMENTS_FILE));
    this.#path = join(stateDir, FILE);
  }

  async load(): Promise<LoadedLastGood> {
    const read = await readLimited(this.#path, MAX_BYTES);
    if (!read.ok) {
      if (read.error.includes('ENOENT') && !this.#wasInUse) return { state: 'none' };
      return { state: 'unreadable', reason: `${this.#path}: ${read.error}` };
    }
    try {
      const data = JSON.parse(read.text) as { layout?: unknown; objects?: unknown };
      if (data.layout !== LAYOUT || !Array.isArray(data.objects)) throw new Error('unknown layout');
      const objects = new Map<string, HeldObject>();
      for (const entry of data.objects as HeldObject[]) {
        if (!isHeld(entry)) throw new Error('an entry is not an object');
        const { kind, metadata } = entry.object;
        const [wrong] = validateSchema(kind, entry.object);
        if (wrong !== undefined)
          throw new Error(`${kind} ${metadata.name}: ${fieldText(wrong.path)}: ${wrong.message}`);
        objects.set(objectKey(refOf(entry.object)), entry);
      }
      return { state: 'loaded', objects };
    } catch (error) {
      return { state: 'unreadable', reason: `${this.#path}: ${String(error)}` };
    }
  }

  async save(objects: ReadonlyMap<string, HeldObject>): Promise<void> {
    const entries = [...objects.values()].map(({ object, file, line, standIn }) => ({
      object,
      file,
      line,
      standIn,
    }));
    await writeAtomically(this.#path, JSON.stringify({ layout: LAYOUT, objects: entries }));
  }
}

function isHeld(entry: HeldObject | undefined): entry is HeldObject {
  const object = entry?.object;
  return (
    typeof entry?.file === 'string' &&
    KINDS.some((kind) => kind === object?.kind) &&
    typeof object?.metadata?.name === 'string'
  );
}
