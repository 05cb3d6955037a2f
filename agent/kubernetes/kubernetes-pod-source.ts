/**
 * The pods of this node as the Kubernetes API has them, each with the network namespace that its processes are in.
 * While the API is away, what was known last holds.
 */
import { DATAPLANE_MODE_LABEL, isEnrolled, isObserved, type Labels } from '../../lib/enrolment.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Clock } from '../clock.ts';
import type { LeftAlone, PodSource, PodSpec, SourceProblem, SourceState } from '../pod-source.ts';
import type { Feed, MakeFeed } from './feed.ts';
import type { FoundNetns, NetnsFinder } from './netns-finder.ts';
import { nodeNamespace, nodePod, type NodeNamespace, type NodePod } from './node-objects.ts';
import { whyLeftAlone } from './left-alone.ts';
import type { Sandboxes } from './sandboxes.ts';

/** Namespaces are looked after this often; it costs a pass over all processes only where one is missing. */
const LOOK_MS = 2000;
/** Between passes over all processes while a pod's namespace is not to be found. */
const AMBIENT: Labels = { [DATAPLANE_MODE_LABEL]: 'ambient' };
const SEARCH = { initialMs: 50, maxMs: LOOK_MS };

export interface KubernetesPodSourceOptions {
  readonly node: string;
  readonly makeFeed: MakeFeed;
  readonly finder: Pick<NetnsFinder, 'adopt' | 'look' | 'of' | 'processesOf' | 'close'>;
  /** What the runtime tells of the pods' sandboxes, where it does. */
  readonly sandboxes: Pick<Sandboxes, 'ofPod'>;
  readonly clock: Clock;
}

/** Whether a pod that the runtime tells of belongs in the mesh, as far as it is known. */
export type Membership =
  | { readonly kind: 'outside' }
  /** With the API's uid, which of a static pod is not the kubelet's. */
  | { readonly kind: 'member'; readonly uid: string }
  | { readonly kind: 'unknown'; readonly why: string };

/** A pod as it was read last, with what was made of it. */
interface Entry {
  readonly pod: NodePod;
  readonly namespace: NodeNamespace;
  readonly spec: PodSpec;
}

export class KubernetesPodSource implements PodSource {
  readonly #options: KubernetesPodSourceOptions;
  readonly #pods: Feed<NodePod>;
  readonly #namespaces: Feed<NodeNamespace>;
  readonly #search = new Backoff(SEARCH);
  #entries = new Map<string, Entry>();
  #state: SourceState = { synced: false, complete: false, pods: new Map(), problems: [], leftAlone: [] };
  #onChange: () => void = () => undefined;
  #timer: Disposable | undefined;
  #dueAt = Infinity;
  /** No pass over all processes before. */
  #passAt = 0;
  #closed = false;

  constructor(options: KubernetesPodSourceOptions) {
    this.#options = options;
    const changed = (): void => this.changed();
    const common = { onChange: changed, onSync: changed, onProblem: changed };
    const fieldSelector = `spec.nodeName=${options.node}`;
    this.#pods = options.makeFeed({
      path: '/api/v1/pods',
      query: { fieldSelector },
      pick: nodePod,
      ...common,
    });
    this.#namespaces = options.makeFeed({ path: '/api/v1/namespaces', pick: nodeNamespace, ...common });
  }

  get state(): SourceState {
    return this.#state;
  }

  /** Something that the state is made of is another now. */
  changed(): void {
    this.#search.reset();
    this.#passAt = 0;
    this.#schedule(0);
  }

  /**
   * Judges a pod as the runtime knows it, by what is known now.
   *
   * @param pod with the kubelet's uid, and its labels when its sandbox was made
   */
  membership(pod: {
    readonly uid: string;
    readonly namespace: string;
    readonly labels: Labels | undefined;
  }): Membership {
    const found = [...this.#pods.objects.values()].find(({ cgroupUid }) => cgroupUid === pod.uid);
    const labels = found?.labels ?? pod.labels;
    // Its own label may say anything.
    if (labels === undefined)
      return { kind: 'unknown', why: this.#away() ?? 'the API has not told of the pod yet' };
    const namespace = this.#namespaces.objects.get(pod.namespace);
    // The pod's own label decides, where it has one.
    if (!isEnrolled(labels, AMBIENT)) return { kind: 'outside' };
    if (namespace === undefined && !isEnrolled(labels, {})) {
      return { kind: 'unknown', why: this.#away() ?? `namespace ${pod.namespace} is not known yet` };
    }
    if (!isEnrolled(labels, namespace?.labels)) return { kind: 'outside' };
    if (found === undefined)
      return { kind: 'unknown', why: this.#away() ?? 'the API has not told of the pod yet' };
    if (this.#state.leftAlone?.some(({ uid }) => uid === found.uid)) return { kind: 'outside' };
    return { kind: 'member', uid: found.uid };
  }

  /** Namespaces whose pods are not in the mesh, unless by a label of their own; undefined: not read yet. */
  get outsideNamespaces(): readonly string[] | undefined {
    if (!this.#namespaces.synced) return undefined;
    return [...this.#namespaces.objects.values()]
      .filter(({ labels }) => !isEnrolled({}, labels))
      .map(({ metadata }) => metadata.name);
  }

  #away(): string | undefined {
    const problem = this.#pods.problem ?? this.#namespaces.problem;
    return problem === undefined ? undefined : `the Kubernetes API cannot be read: ${problem}`;
  }

  start(onChange: () => void): void {
    this.#onChange = onChange;
    this.#pods.start();
    this.#namespaces.start();
    this.#schedule(0);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.[Symbol.dispose]();
    void this.#pods.close();
    void this.#namespaces.close();
    this.#options.finder.close();
  }

  #schedule(delayMs: number): void {
    const dueAt = this.#options.clock.now() + delayMs;
    if (this.#closed || dueAt >= this.#dueAt) return;
    this.#timer?.[Symbol.dispose]();
    this.#dueAt = dueAt;
    this.#timer = this.#options.clock.after(delayMs, () => {
      this.#dueAt = Infinity;
      this.#refresh();
    });
  }

  #refresh(): void {
    const before = this.#state;
    if (this.#pods.synced && this.#namespaces.synced) this.#read();
    else this.#state = { ...before, problems: this.#problems() };
    if (!isSame(before, this.#state)) this.#onChange();
    const untilPass = this.#passAt - this.#options.clock.now();
    this.#schedule(untilPass > 0 ? Math.min(LOOK_MS, untilPass) : LOOK_MS);
  }

  #read(): void {
    const { clock, finder, sandboxes } = this.#options;
    const known = new Map<string, NodePod>();
    for (const pod of this.#pods.objects.values()) known.set(pod.uid, pod);
    // Gone from the API by force, perhaps, while its processes still run: they stay in the mesh until they end.
    for (const [uid, { pod }] of this.#entries)
      if (!known.has(uid)) known.set(uid, { ...pod, leaving: true });

    const leftAlone: LeftAlone[] = [];
    const wanted = new Map<string, readonly [NodePod, NodeNamespace]>();
    let complete = true;
    for (const [uid, pod] of known) {
      const namespace = this.#namespaceOf(uid, pod);
      if (namespace === undefined) complete = false;
      // One that has left the mesh is told of until it ends: what it has open through the mesh is not to be cut.
      else if (isWanted(pod.labels, namespace.labels) || this.#entries.has(uid))
        wanted.set(uid, [pod, namespace]);
    }
    const searched = new Map<string, number | undefined>();
    for (const [{ cgroupUid, hostNetwork }] of wanted.values()) {
      if (hostNetwork) continue;
      const sandbox = sandboxes.ofPod(cgroupUid);
      searched.set(cgroupUid, sandbox?.pid);
      if (sandbox?.netns !== undefined) finder.adopt(cgroupUid, sandbox.netns);
    }
    const maySearch = clock.now() >= this.#passAt;
    if (!finder.look(searched, maySearch)) this.#search.reset();
    else if (maySearch) this.#passAt = clock.now() + this.#search.next();

    const entries = new Map<string, Entry>();
    for (const [uid, [pod, namespace]] of wanted) {
      const netns = finder.of(pod.cgroupUid);
      if ((pod.ended || pod.leaving) && !(netns?.inhabited ?? false)) continue;
      const why = isWanted(pod.labels, namespace.labels)
        ? whyLeftAlone(pod, netns, finder.processesOf(pod.cgroupUid))
        : undefined;
      if (why !== undefined) leftAlone.push({ uid, pod: nameOf(pod), why });
      // The runtime knows the address before the API does, also that of a new sandbox.
      const told = sandboxes.ofPod(pod.cgroupUid)?.ips ?? [];
      const ips = told.length > 0 ? told : pod.ips;
      if (why === undefined && ips.length > 0)
        entries.set(uid, this.#entry({ ...pod, ips }, namespace, netns));
    }
    this.#entries = entries;
    const pods = new Map([...entries].map(([uid, { spec }]) => [uid, spec]));
    this.#state = { synced: true, complete, pods, problems: this.#problems(), leftAlone };
  }

  /** A pod's namespace may be told of after the pod, and, where it is deleted, before. */
  #namespaceOf(uid: string, pod: NodePod): NodeNamespace | undefined {
    return this.#namespaces.objects.get(pod.metadata.namespace ?? '') ?? this.#entries.get(uid)?.namespace;
  }

  /** The same object as before where nothing has changed: the reconciler tells a change by that. */
  #entry(pod: NodePod, namespace: NodeNamespace, netns: FoundNetns | undefined): Entry {
    const before = this.#entries.get(pod.uid);
    const spec: PodSpec = {
      uid: pod.uid,
      name: pod.metadata.name,
      namespace: pod.metadata.namespace ?? '',
      serviceAccount: pod.serviceAccount,
      netns: netns?.path,
      ips: pod.ips,
      labels: pod.labels,
      annotations: pod.annotations,
      namespaceLabels: namespace.labels,
      ...(pod.probePorts.length > 0 && { probePorts: pod.probePorts }),
    };
    const same = before !== undefined && JSON.stringify(before.spec) === JSON.stringify(spec);
    return { pod, namespace, spec: same ? before.spec : spec };
  }

  #problems(): SourceProblem[] {
    return [this.#pods.problem, this.#namespaces.problem].flatMap((message) =>
      message === undefined ? [] : [{ where: 'Kubernetes API', message }],
    );
  }
}

/** In the mesh, or observed: of these the reconciler and the observer are told. */
function isWanted(labels: Labels, namespaceLabels: Labels): boolean {
  return isEnrolled(labels, namespaceLabels) || isObserved(labels, namespaceLabels);
}

function nameOf({ metadata: { namespace, name } }: NodePod): string {
  return `${namespace ?? ''}/${name}`;
}

function isSame(a: SourceState, b: SourceState): boolean {
  if (a.synced !== b.synced || a.complete !== b.complete || a.pods.size !== b.pods.size) return false;
  for (const [uid, spec] of a.pods) if (b.pods.get(uid) !== spec) return false;
  return JSON.stringify([a.problems, a.leftAlone]) === JSON.stringify([b.problems, b.leftAlone]);
}
