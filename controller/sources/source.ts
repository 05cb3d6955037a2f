import type { Kind, KubeObject, ObjectRef } from '../model/objects.ts';
import type { ChangeLog } from './change-log.ts';
import { SortedMap } from './sorted-map.ts';

/** Where something stands, for messages. `line` counts from 1. */
export interface Location {
  readonly file: string;
  readonly line?: number;
}

/** One thing that is wrong with a manifest, or worth a warning. */
export interface Problem extends Location {
  readonly severity: 'error' | 'warning';
  readonly object?: ObjectRef;
  /** What the document seems to be about where it names no object properly: `Pod "Bad_Name"`. */
  readonly about?: string;
  /** Path of the field, for example `spec.rules[0].from[0].source.ipBlocks[1]`. */
  readonly field?: string;
  /** The value found, shortened. */
  readonly value?: string;
  readonly message: string;
  /** What would be right. */
  readonly allowed?: string;
  /** Where a standard has a name for it (GEP-713), for the status. */
  readonly reason?: 'TargetNotFound';
}

/** An object that is in force. */
export interface AcceptedObject extends Location {
  readonly object: KubeObject;
  /** True when its manifest is now broken or gone astray and this is its last good state. */
  readonly lastGood: boolean;
  /** Set where it is in force in place of a broken manifest that was never right: what it does (stand-in.ts). */
  readonly standIn?: string;
}

/** Everything a source holds at one moment. `generation` grows with each change of `objects`. */
export interface ObjectSet {
  readonly generation: number;
  /** By objectKey, sorted by it. A source may change it in place. */
  readonly objects: ReadonlyMap<string, AcceptedObject>;
  /** Of a source that changes in place: what has changed of the objects, and of where they are. For one reader. */
  readonly changes?: ChangeLog;
  readonly problems: readonly Problem[];
  /** The files read, relative to the source, with the reason when one could not be read at all. */
  readonly files: readonly { readonly file: string; readonly error?: string }[];
}

/** Why a source cannot vouch for its objects yet; an empty list means that it can. */
export interface SourceGate {
  readonly name: string;
  readonly ready: boolean;
  readonly reason: string;
}

/**
 * Where objects come from: a directory of manifests, later the Kubernetes API. Level-triggered: the listener gets the
 * whole set after each change, `current` is always the newest.
 */
export interface Source {
  readonly current: ObjectSet;
  gate(): SourceGate;
  /** Calls back after each change until the signal aborts. */
  onChange(listener: (set: ObjectSet) => void, signal: AbortSignal): void;
  /** Reads everything once; afterwards `current` is meaningful. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** The objects of one kind, by objectKey. */
export function objectsOf({ objects }: ObjectSet, kind: Kind): ReadonlyMap<string, AcceptedObject> {
  if (objects instanceof SortedMap) return objects.under(kind) as ReadonlyMap<string, AcceptedObject>;
  return new Map([...objects].filter(([, { object }]) => object.kind === kind));
}
