import type { KubeObject, Pod } from '../model/objects.ts';
import type { Assignments } from '../sources/assignments.ts';
import type { ChangeLog } from '../sources/change-log.ts';
import type { MeshPatch } from '../xds/snapshot.ts';
import { type PlacedPod, type PodRules, egressName } from './egress/compile.ts';
import { podTelemetry, telemetryName } from './telemetry/pods.ts';
import { type Build, buildMesh, type CompiledMesh, type CompileInput, makeMemos } from './mesh.ts';
import { type PodEntry, placedPod } from './pod-set.ts';
import type { CompiledResource } from './resources.ts';

/** What is compiled. An object that is the same object as the last time has not changed. */
export interface MeshInput extends Omit<CompileInput, 'objects'> {
  /** By objectKey. */
  readonly objects: ReadonlyMap<string, { readonly object: KubeObject }>;
  /** What has changed of objects and assignments; without it, all of them are looked at. */
  readonly changes?: ChangeLog;
}

export interface MeshChange {
  /** Changed in place by the next compilation. */
  readonly mesh: CompiledMesh;
  /** All in which the mesh may differ from the one before; undefined: it may differ in anything. */
  readonly patch?: MeshPatch;
}

/** A pod that came, changed, moved or (undefined) went. */
interface PodChange {
  /** `<namespace>/<name>`. */
  readonly key: string;
  readonly pod: Pod | undefined;
}

type Changes = Map<string, CompiledResource | undefined>;

/** Of the keys of pods. */
const POD_PREFIX = 'Pod/';

/**
 * Compiles a mesh again and again. In a large one, pods change all the time and everything else rarely: where only pods have
 * changed, and nothing but their own resources can depend on that, only these are compiled. Everything else is compiled as a
 * whole, by the same code, where what is unchanged is not encoded again. `compileMesh` is the reference for both.
 */
export class MeshCompiler {
  readonly #memos = makeMemos();
  #build: Build | undefined;
  #input: MeshInput | undefined;
  #places = '';
  /** Up to where the log of changes was read. */
  #read = 0;

  compile(input: MeshInput): MeshChange {
    const places = JSON.stringify([input.assignments.services, input.assignments.gateways]);
    const build = this.#build;
    const changed =
      build === undefined || places !== this.#places ? undefined : this.#changedPods(build, input);
    this.#input = input;
    this.#read = input.changes?.position ?? 0;
    input.changes?.forget(this.#read);
    this.#places = places;
    // Half of a change may be in it, also where that fails.
    this.#build = undefined;
    if (build !== undefined && changed !== undefined) {
      const patch = changePods(build, changed, input.assignments);
      if (patch !== undefined) {
        this.#build = build;
        return { mesh: build.mesh, patch };
      }
    }
    const objects = [...input.objects.values()].map(({ object }) => object);
    this.#build = buildMesh({ ...input, objects }, this.#memos);
    return { mesh: this.#build.mesh };
  }

  /** The pods that have changed; undefined where anything else has. */
  #changedPods(build: Build, input: MeshInput): PodChange[] | undefined {
    const last = this.#input;
    if (last?.sessionSecret !== input.sessionSecret || last?.names !== input.names) return undefined;
    return input.changes === undefined
      ? lookedFor(build, last?.objects, input)
      : toldOf(build, input.changes.since(this.#read), input);
  }
}

/** The pods that have changed, of those that may have. */
function toldOf(
  { pods }: Build,
  keys: ReadonlySet<string> | undefined,
  { objects, assignments }: MeshInput,
): PodChange[] | undefined {
  if (keys === undefined) return undefined;
  return [...keys].flatMap((name) => {
    const key = name.slice(POD_PREFIX.length);
    const object = objects.get(name)?.object;
    const pod = object?.kind === 'Pod' ? object : undefined;
    const entry = pods.get(key);
    const isSame = pod === entry?.pod && isPlacedAs(entry, assignments.pods[key]);
    return isSame ? [] : [{ key, pod }];
  });
}

/** The pods that have changed, of all objects; undefined where anything else has. */
function lookedFor(
  { pods }: Build,
  last: MeshInput['objects'] | undefined,
  { objects, assignments }: MeshInput,
): PodChange[] | undefined {
  const changes: PodChange[] = [];
  let stayed = 0;
  for (const [name, { object }] of objects) {
    const before = last?.get(name)?.object;
    if (before !== undefined) stayed += 1;
    if (object.kind !== 'Pod') {
      if (before !== object) return undefined;
      continue;
    }
    const key = name.slice(POD_PREFIX.length);
    if (before !== object || !isPlacedAs(pods.get(key), assignments.pods[key]))
      changes.push({ key, pod: object });
  }
  if (last === undefined || stayed === last.size) return changes;
  for (const [name, { object }] of last) {
    if (objects.has(name)) continue;
    if (object.kind !== 'Pod') return undefined;
    changes.push({ key: name.slice(POD_PREFIX.length), pod: undefined });
  }
  return changes;
}

function isPlacedAs(entry: PodEntry | undefined, now: Assignments['pods'][string] | undefined): boolean {
  const then = entry?.assigned;
  if (then === now) return true;
  if (then === undefined || now === undefined) return false;
  return (
    then.node === now.node &&
    then.ready === now.ready &&
    then.ips.length === now.ips.length &&
    then.ips.every((ip, i) => ip === now.ips[i])
  );
}

/**
 * Puts pods into the place of what they were.
 *
 * @returns what of the mesh may differ; undefined where others may be concerned: then the build is spoilt
 */
function changePods(
  build: Build,
  changed: readonly PodChange[],
  assignments: Assignments,
): MeshPatch | undefined {
  const { pods, claims } = build;
  const { refused } = claims;
  // Who gets an address that two want depends on all.
  const isContested = (entry: PodEntry | undefined): boolean =>
    claims.isContested(entry?.compiled?.ips ?? []);
  const strict = pods.usesStaticStrict;
  const before = changed.map(({ key }) => pods.get(key));
  if (before.some((entry) => concernsOthers(entry) || isContested(entry))) return undefined;
  // A Telemetry that selects a pod says so in its status.
  const isSelected = (pod: Pod | undefined): boolean => pod !== undefined && build.telemetry.selects(pod);
  if (changed.some(({ pod }) => isSelected(pod)) || before.some((entry) => isSelected(entry?.pod)))
    return undefined;
  // First all former addresses are free: pods may have exchanged them.
  for (const { key } of changed) pods.remove(key);
  const after = changed.map(({ key, pod }) =>
    pod === undefined ? undefined : pods.add(key, pod, assignments),
  );
  if (claims.refused > refused || pods.usesStaticStrict !== strict) return undefined;
  if (after.some((entry) => concernsOthers(entry) || isContested(entry))) return undefined;
  const addresses: Changes = new Map();
  const egress = new Map<string, Changes>();
  for (const entry of before) if (entry?.compiled !== undefined) addresses.set(entry.compiled.uid, undefined);
  for (const entry of after)
    if (entry?.compiled !== undefined) addresses.set(entry.compiled.uid, entry.compiled.resource);
  for (const [i, entry] of after.entries())
    if (!changeEgress(build, placedOf(before[i]), placedOf(entry), egress)) return undefined;
  return { addresses, egress };
}

/** Whether a pod leads to policies that others share, says something of others, or may be an endpoint of somebody's slice. */
function concernsOthers(entry: PodEntry | undefined): boolean {
  const { guards = [], notesOfOthers = [], isInSlice = false } = entry?.compiled ?? {};
  return isInSlice || guards.length + notesOfOthers.length > 0;
}

function placedOf(entry: PodEntry | undefined): PlacedPod | undefined {
  return entry === undefined ? undefined : placedPod(entry.pod, entry.compiled);
}

/** @returns false where it concerns others: policies that select the pod say so in their status, and nodes enforce them */
function changeEgress(
  { egress, egressByNode, telemetry }: Build,
  before: PlacedPod | undefined,
  after: PlacedPod | undefined,
  changes: Map<string, Changes>,
): boolean {
  const [then, now] = [before, after].map((placed) =>
    placed === undefined ? undefined : egress.rulesOf(placed.pod),
  );
  if (isRestricted(then) || isRestricted(now)) return isEqual(then, now) && isEqualPlace(before, after);
  if (egress.hasPolicies && changesNodes(egressByNode, before, after)) return false;
  const put = (node: string, name: string, resource: CompiledResource | undefined): void => {
    const resources = egressByNode.get(node) ?? new Map<string, CompiledResource>();
    if (resource === undefined) resources.delete(name);
    else resources.set(name, resource);
    if (resources.size === 0) egressByNode.delete(node);
    else egressByNode.set(node, resources);
    const ofNode = changes.get(node) ?? new Map<string, CompiledResource | undefined>();
    changes.set(node, ofNode.set(name, resource));
  };
  if (before !== undefined) {
    put(before.node, egressName(before.uid), undefined);
    put(before.node, telemetryName(before.uid), undefined);
  }
  if (before !== undefined && after === undefined) egress.forget(before.uid);
  if (after !== undefined && now !== undefined)
    put(after.node, egressName(after.uid), egress.resourceOf(after.uid, now));
  const told = after && podTelemetry(after, telemetry);
  if (after !== undefined && told !== undefined) put(after.node, told.name, told);
  return true;
}

/** Whether it is the first pod of its node, or the last that leaves one. */
function changesNodes(
  egressByNode: Build['egressByNode'],
  before: PlacedPod | undefined,
  after: PlacedPod | undefined,
): boolean {
  if (after !== undefined && !egressByNode.has(after.node)) return true;
  if (before === undefined || before.node === after?.node) return false;
  const names = [...(egressByNode.get(before.node)?.keys() ?? [])];
  return !names.some((name) => name.startsWith(egressName('')) && name !== egressName(before.uid));
}

function isRestricted(rules: PodRules | undefined): boolean {
  return rules !== undefined && (rules.refuses || rules.policies.length > 0);
}

function isEqual(a: PodRules | undefined, b: PodRules | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function isEqualPlace(a: PlacedPod | undefined, b: PlacedPod | undefined): boolean {
  return a?.node === b?.node && a?.inMesh === b?.inMesh;
}
