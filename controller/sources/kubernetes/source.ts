import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import type { KubeReads } from '../../../lib/kubernetes/client.ts';
import { Reflector, type ReflectorTimes } from '../../../lib/kubernetes/reflector.ts';
import { type Kind, objectKey, type ObjectRef } from '../../model/objects.ts';
import { accept, acceptSteps, type ReadFile } from '../accept.ts';
import { type Assignments, NO_ASSIGNMENTS } from '../assignments.ts';
import { ChangeLog } from '../change-log.ts';
import { inSteps } from '../in-steps.ts';
import { SortedMap } from '../sorted-map.ts';
import type { AcceptedObject, ObjectSet, Problem, Source, SourceGate } from '../source.ts';
import type { WarningContext } from '../warnings.ts';
import { PlacesFeed } from './feed.ts';
import { READ_KINDS, type ReadKind } from './kinds.ts';
import { pick, type Picked, sameObject, samePlace } from './pick.ts';
import { Places } from './places.ts';
import { readPicked } from './read.ts';

export interface KubernetesSourceOptions {
  readonly client: KubeReads;
  readonly rootNamespace: string;
  /** Of the identities that policies may name. */
  readonly trustDomain: string;
  readonly log: Logger;
  /** For tests. */
  readonly times?: Partial<ReflectorTimes>;
  /** How long after a pod's change warnings are looked at again; for tests. */
  readonly warningsDelayMs?: number;
}

/** One change is taken at once, those of the time after it together: a rollout changes hundreds of pods. */
const BATCH_MS = 30;
const WARNINGS_DELAY_MS = 2_000;
/** After so many checks that were overtaken by changes of pods, one is done at once. */
const MAX_OVERTAKEN = 30;

/**
 * The objects of a cluster, followed through its API. Nothing is told before every kind has been listed; afterwards what was
 * known stays in force while the API server is away. Of objects that are broken the last good state stays, or something strict
 * in their place (decision 0120).
 */
export class KubernetesSource implements Source {
  readonly #options: KubernetesSourceOptions;
  readonly #events = new EventEmitter<{ objects: [ObjectSet]; places: [] }>();
  /** Where the same objects are, as the other half of what the compiler wants. Closed with the source, too. */
  readonly assignments: PlacesFeed;
  readonly #reflectors: ReadonlyMap<Kind, Reflector<Picked>>;
  readonly #places: Places;
  readonly #files = new Map<string, ReadFile>();
  /** Objects that changed since they were read last, by objectKey. */
  readonly #changed = new Map<string, { readonly kind: ReadKind; readonly key: string }>();
  /** Pods that moved, became ready or ended. */
  readonly #moved = new Set<string>();
  #gatewaysChanged = false;
  #servicesChanged = false;
  /** Pods are changed in place: there are many, and of them one changes at a time. */
  #held = new SortedMap<AcceptedObject>();
  readonly #log = new ChangeLog();
  #checking: NodeJS.Timeout | undefined;
  /** How many checks in a row were overtaken by changes of pods. */
  #overtaken = 0;
  #set: Omit<ObjectSet, 'files'> = { generation: 0, objects: this.#held, problems: [] };
  #assignments: Assignments = NO_ASSIGNMENTS;
  #batch: NodeJS.Timeout | undefined;
  #restUntilMs = -Infinity;
  #closed = false;
  #started = false;
  readonly #synced = Promise.withResolvers<void>();

  constructor(options: KubernetesSourceOptions) {
    this.#options = options;
    this.#reflectors = new Map(READ_KINDS.map((kind) => [kind.kind, this.#reflector(kind)]));
    const of = (kind: Kind): Reflector<Picked> => this.#reflectors.get(kind) as Reflector<Picked>;
    this.#places = new Places({ pods: of('Pod'), services: of('Service'), gateways: of('Gateway') });
    this.assignments = new PlacesFeed({
      current: () => this.#assignments,
      gate: () => ({ ...this.gate(), name: 'assignments' }),
      onChange: (listener, signal) => {
        this.#events.on('places', listener);
        signal.addEventListener('abort', () => this.#events.off('places', listener), { once: true });
      },
      start: () => this.#begin(),
      close: () => this.close(),
    });
  }

  get current(): ObjectSet {
    const files = [...this.#reflectors].map(([kind, { problem }]) => ({
      file: `${kind} objects`,
      ...(problem !== undefined && { error: problem }),
    }));
    return { ...this.#set, files, changes: this.#log };
  }

  gate(): SourceGate {
    const name = 'kubernetes';
    if (this.#set.generation > 0) return { name, ready: true, reason: '' };
    const waiting = [...this.#reflectors].filter(([, { synced }]) => !synced);
    const reasons = waiting.flatMap(([, { problem }]) => problem ?? []);
    const kinds = waiting.map(([kind]) => kind).join(', ');
    const reason = kinds === '' ? 'not read yet' : (reasons[0] ?? `not listed yet: ${kinds}`);
    return { name, ready: false, reason };
  }

  onChange(listener: (set: ObjectSet) => void, signal: AbortSignal): void {
    this.#events.on('objects', listener);
    signal.addEventListener('abort', () => this.#events.off('objects', listener), { once: true });
  }

  async start(): Promise<void> {
    this.#begin();
    await this.#synced.promise;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#batch);
    clearTimeout(this.#checking);
    this.#synced.resolve();
    await Promise.all([...this.#reflectors.values()].map((reflector) => reflector.close()));
  }

  /**
   * An object as the API server has it now, accepted or not: its uid, generation and resourceVersion in `metadata`, its present
   * `status`. For whoever writes that status.
   */
  resource({ kind, namespace, name }: ObjectRef): Picked | undefined {
    const key = namespace === '' ? name : `${namespace}/${name}`;
    return this.#reflectors.get(kind as Kind)?.objects.get(key);
  }

  /** All objects of a kind as the API server has them now, by `namespace/name` or `name`. */
  resources(kind: Kind): ReadonlyMap<string, Picked> {
    return this.#reflectors.get(kind)?.objects ?? new Map<string, Picked>();
  }

  #begin(): void {
    if (this.#started || this.#closed) return;
    this.#started = true;
    for (const reflector of this.#reflectors.values()) reflector.start();
  }

  #reflector(kind: ReadKind): Reflector<Picked> {
    const { client, log, times } = this.#options;
    return new Reflector<Picked>({
      client,
      path: kind.path,
      ...(kind.labelSelector !== undefined && { query: { labelSelector: kind.labelSelector } }),
      log,
      ...(times !== undefined && { times }),
      pick: (object) => pick(kind, object),
      onChange: (key, now, before) => this.#note(kind, key, now, before),
      onSync: () => this.#schedule(),
    });
  }

  #note(kind: ReadKind, key: string, now: Picked | undefined, before: Picked | undefined): void {
    const isSame = now !== undefined && before !== undefined && sameObject(now, before);
    if (kind.kind === 'Pod' && !(isSame && samePlace(now, before))) this.#moved.add(key);
    if (!isSame) {
      this.#changed.set(`${kind.kind}/${key}`, { kind, key });
      if (kind.kind === 'Gateway') this.#gatewaysChanged = true;
      if (kind.kind === 'Service') this.#servicesChanged = true;
    }
    if (this.#changed.size + this.#moved.size > 0) this.#schedule();
  }

  #schedule(): void {
    if (this.#closed || this.#batch !== undefined) return;
    this.#batch = setTimeout(
      () => {
        this.#batch = undefined;
        this.#apply();
        this.#restUntilMs = performance.now() + BATCH_MS;
      },
      Math.max(0, this.#restUntilMs - performance.now()),
    );
  }

  /** Takes over what has changed, once everything has been listed. */
  #apply(): void {
    if (this.#closed) return;
    const isFirst = this.#set.generation === 0;
    if (isFirst && [...this.#reflectors.values()].some(({ synced }) => !synced)) return;
    const places = this.#applyPlaces();
    const objects = isFirst || this.#changed.size > 0;
    if (objects) this.#applyObjects();
    if (isFirst) this.#synced.resolve();
    if (places) this.#events.emit('places');
    if (objects) this.#events.emit('objects', this.current);
  }

  #applyPlaces(): boolean {
    const pods = this.#reflectors.get('Pod')?.objects ?? new Map<string, Picked>();
    // A Gateway that came or went makes pods its instances, or their own again.
    const moved = this.#gatewaysChanged ? [...this.#moved, ...pods.keys()] : [...this.#moved];
    const isAny = moved.length > 0 || this.#gatewaysChanged || this.#servicesChanged;
    for (const key of moved) this.#places.update(key);
    this.#log.pods(moved.map((key) => `Pod/${key}`));
    this.#moved.clear();
    this.#gatewaysChanged = false;
    this.#servicesChanged = false;
    if (isAny) this.#assignments = this.#places.current();
    return isAny;
  }

  #applyObjects(): void {
    const pods = this.#podsAlone();
    for (const { kind, key } of this.#changed.values()) {
      const picked = this.#reflectors.get(kind.kind)?.objects.get(key);
      const [name = '', namespace = ''] = key.split('/').reverse();
      const ref: ObjectRef = { kind: kind.kind, namespace, name };
      if (picked === undefined) this.#files.delete(objectKey(ref));
      else this.#files.set(objectKey(ref), readPicked(kind, ref, picked));
    }
    this.#changed.clear();
    if (pods === undefined) this.#acceptAll();
    else this.#acceptPods(pods);
  }

  /** The pods that have changed, by objectKey; undefined where anything else has, or nothing is known yet. */
  #podsAlone(): readonly string[] | undefined {
    if (this.#set.generation === 0) return undefined;
    const changed = [...this.#changed.values()];
    const isAlone = changed.every(({ kind }) => kind.kind === 'Pod');
    return isAlone ? changed.map(({ key }) => `Pod/${key}`) : undefined;
  }

  /**
   * What pods say is the API server's, and in force whatever else there is. What others' warnings have to do with them is looked
   * at a little later: in a large cluster that takes longer than all else.
   */
  #acceptPods(keys: readonly string[]): void {
    for (const key of keys) {
      const read = this.#files.get(key);
      const [document] = read?.documents ?? [];
      const pod = this.resources('Pod').get(key.slice('Pod/'.length));
      const isHidden = pod === undefined || this.#places.waypointOfPod(pod) !== undefined;
      const isRead = !isHidden && document?.type === 'object' && read !== undefined;
      if (isRead) this.#held.set(key, { object: document.object, file: read.file, lastGood: false });
      else this.#held.delete(key);
    }
    this.#log.pods(keys);
    this.#set = { ...this.#set, generation: this.#set.generation + 1 };
    this.#checkLater();
  }

  #checkLater(): void {
    this.#checking ??= setTimeout(
      () => void this.#check(),
      this.#options.warningsDelayMs ?? WARNINGS_DELAY_MS,
    );
  }

  /** Accepts all in steps, so that no change of a pod waits for it. */
  async #check(): Promise<void> {
    const checking = this.#checking;
    const { generation } = this.#set;
    const found = await inSteps(
      acceptSteps(this.#ownFiles(), this.#held, this.#acceptance),
      () => this.#checking === checking && !this.#closed,
    );
    if (found === undefined) return;
    this.#checking = undefined;
    this.#overtaken = this.#set.generation === generation ? 0 : this.#overtaken + 1;
    if (this.#overtaken > MAX_OVERTAKEN) this.#acceptAll();
    else if (this.#overtaken === 0) this.#take(found);
    else {
      // Pods have changed meanwhile: what they say is in force, and what is wrong was so a moment ago.
      this.#takeProblems(found.problems);
      this.#checkLater();
    }
    this.#events.emit('objects', this.current);
  }

  #acceptAll(): void {
    clearTimeout(this.#checking);
    this.#checking = undefined;
    this.#overtaken = 0;
    this.#take(accept(this.#ownFiles(), this.#held, this.#acceptance));
  }

  get #acceptance(): WarningContext {
    return { ...this.#options, platform: 'kubernetes' };
  }

  #take({ objects, problems }: Pick<ObjectSet, 'objects' | 'problems'>): void {
    const others = differences(this.#held, objects);
    if (others.every((key) => key.startsWith('Pod/'))) this.#log.pods(others);
    else this.#log.anything();
    this.#held = new SortedMap(objects);
    this.#takeProblems(problems);
  }

  #takeProblems(problems: readonly Problem[]): void {
    this.#report(problems);
    this.#set = { generation: this.#set.generation + 1, objects: this.#held, problems };
  }

  /** What was read, without what stands for waypoints. */
  #ownFiles(): ReadFile[] {
    const hidden = new Set<string>();
    for (const [key, pod] of this.resources('Pod')) {
      if (this.#places.waypointOfPod(pod) !== undefined) hidden.add(`Pod/${key}`);
    }
    for (const key of this.resources('Gateway').keys()) {
      const service = this.resources('Service').get(key);
      if (service !== undefined && this.#places.isOfWaypoint(service)) hidden.add(`Service/${key}`);
    }
    return [...this.#files.values()].filter(({ file }) => !hidden.has(file));
  }

  /** Each problem once, when it comes up. */
  #report(problems: readonly Problem[]): void {
    const known = new Set(this.#set.problems.map((problem) => JSON.stringify(problem)));
    for (const problem of problems) {
      if (known.has(JSON.stringify(problem))) continue;
      if (problem.severity === 'error') this.#options.log.warn({ problem }, 'object problem');
      else this.#options.log.info({ problem }, 'object warning');
    }
  }
}

/** The keys under which another object is in force, or none. */
function differences(
  before: ReadonlyMap<string, AcceptedObject>,
  after: ReadonlyMap<string, AcceptedObject>,
): string[] {
  const changed = [...after].flatMap(([key, { object }]) =>
    before.get(key)?.object === object ? [] : [key],
  );
  const gone = [...before.keys()].filter((key) => !after.has(key));
  return [...changed, ...gone];
}
