/**
 * Pods of this node of which no control plane has told, while none can be asked (decision 0152): their agent says whose
 * they are and where, and the last state says what holds in their namespace. What cannot be known without their labels
 * is refused, never assumed.
 */
import type { EgressStore } from '../../lib/mesh/egress/egress-store.ts';
import type { EgressDelta, EgressWorkload } from '../../lib/mesh/egress/model.ts';
import type { Log } from '../../lib/mesh/log.ts';
import type { AddressDelta, Policy, Service, Workload } from '../../lib/mesh/state/model.ts';
import type { PolicyStore } from '../../lib/mesh/state/policy-store.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import type { PodRow } from './pod-directory.ts';

/** A control plane that is away for a shorter time will tell by itself. */
const AWAY_MS = 1_000;
/** Once it is back, it has so long to tell of a pod, before nothing is said of the pod any more. */
const BACK_MS = 5_000;
const LOOK_MS = 500;

export interface StandInOptions {
  readonly node: string;
  readonly clusterId: string;
  readonly network: string;
  /** Where policies for all namespaces are; undefined: it may be any. */
  readonly rootNamespace: string | undefined;
  /** Whether all services of the mesh are known here, and not only those that were asked for. */
  readonly followsAll: boolean;
  readonly workloads: WorkloadStore;
  readonly policies: PolicyStore;
  readonly egress: EgressStore;
  readonly pods: () => readonly PodRow[];
  /** The control plane cannot be asked, and an earlier state is in force. */
  readonly isAway: () => boolean;
  readonly apply: (addresses: AddressDelta, egress: EgressDelta) => void;
  readonly log: Log;
  /** For tests. */
  readonly now?: () => number;
}

interface Made {
  /** Of the workload. */
  readonly uid: string;
  /** What it may call; undefined: that is not known. */
  readonly egress: EgressWorkload | undefined;
}

export class StandIns {
  readonly #options: StandInOptions;
  readonly #now: () => number;
  /** By pod: what stands in for it. */
  readonly #made = new Map<string, Made>();
  /** Something came since what stands in was made, by which it might be another. */
  #isOutdated = false;
  #away = false;
  #since: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: StandInOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#since = this.#now();
    const outdated = (): void => {
      this.#isOutdated = true;
    };
    options.policies.onChange(outdated);
    options.workloads.onChange(outdated);
    options.egress.onChange(outdated);
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Brings what stands in to what is the case now. */
  look(): void {
    const { pods, isAway } = this.#options;
    const away = isAway();
    if (away !== this.#away) this.#since = this.#now();
    this.#away = away;
    const rows = pods();
    const forMs = this.#now() - this.#since;
    this.#withdraw(new Set(rows.map(({ uid }) => uid)), !away && forMs >= BACK_MS);
    this.#renew(rows);
    if (away && forMs >= AWAY_MS) for (const pod of rows) this.#standIn(pod);
  }

  /** One that comes back for a moment, and again, may tell of policies and not of the pod. */
  #renew(rows: readonly PodRow[]): void {
    if (!this.#isOutdated) return;
    for (const pod of rows) {
      const uid = this.#made.get(pod.uid)?.uid;
      if (uid !== undefined && this.#options.workloads.byUid(uid)?.standIn !== undefined) this.#put(pod);
    }
    this.#isOutdated = false;
  }

  #withdraw(alive: ReadonlySet<string>, all: boolean): void {
    const { workloads, log } = this.#options;
    for (const [pod, { uid, egress }] of this.#made) {
      // The control plane has told of the pod meanwhile.
      const isReplaced = workloads.byUid(uid)?.standIn === undefined;
      if (!isReplaced && alive.has(pod) && !all) continue;
      this.#made.delete(pod);
      if (isReplaced) continue;
      const removed = this.#isOurs(uid, egress) ? [`workload/${uid}`] : [];
      this.#apply({ upserts: [], removed: [uid] }, { upserts: [], removed });
      log.info('nothing stands in for the pod any more', { pod, workload: uid });
    }
  }

  #standIn(pod: PodRow): void {
    const { clusterId, workloads, log } = this.#options;
    const { uid: podUid, namespace, name, serviceAccount, ips = [] } = pod;
    if (ips.length === 0 || workloads.workloadOfPod({ clusterId, namespace, name, serviceAccount })) return;
    const { workload, egress } = this.#put(pod);
    log.warn('no control plane can be asked: the pod is gone by as its agent tells it', {
      pod: podUid,
      workload: workload.uid,
      inbound: workload.standIn?.unsure ?? 'by HBONE',
      outbound: egress === undefined ? 'it is not known what it may call' : 'as its namespace',
    });
  }

  /** Puts what stands in for a pod, as it is by now. */
  #put(pod: PodRow): { readonly workload: Workload; readonly egress: EgressWorkload | undefined } {
    const workload = this.#workload(pod, pod.ips ?? []);
    const { uid } = workload;
    const before = this.#made.get(pod.uid);
    const told = this.#options.egress.applicable(uid)?.workload;
    // What a control plane told of its calls meanwhile stays.
    const isTold = told !== undefined && !this.#isOurs(uid, before?.egress);
    const egress = isTold ? before?.egress : this.#egressOf(workload);
    this.#made.set(pod.uid, { uid, egress });
    const upserts = isTold || egress === undefined ? [] : [egress];
    const removed = isTold || egress !== undefined || told === undefined ? [] : [`workload/${uid}`];
    this.#apply({ upserts: [workload], removed: [] }, { upserts, removed });
    return { workload, egress };
  }

  #isOurs(uid: string, made: EgressWorkload | undefined): boolean {
    return made !== undefined && this.#options.egress.applicable(uid)?.workload === made;
  }

  /** What we put ourselves makes nothing else outdated. */
  #apply(addresses: AddressDelta, egress: EgressDelta): void {
    const isOutdated = this.#isOutdated;
    this.#options.apply(addresses, egress);
    this.#isOutdated = isOutdated;
  }

  #workload({ namespace, name, identity }: PodRow, ips: readonly string[]): Workload {
    const { clusterId, node, network } = this.#options;
    const unsure = this.#whyUnsure(namespace);
    return {
      ...{ kind: 'workload', uid: `${clusterId}//Pod/${namespace}/${name}`, name, namespace, identity },
      ...{ addresses: ips, network, hostname: '', tunnelProtocol: 'hbone', node, nativeTunnel: false },
      ...{ canonicalName: name, canonicalRevision: 'latest', workloadType: 'pod', workloadName: name },
      services: [],
      // Each may be meant for it: one too many denies, and does not let in.
      authorizationPolicies: this.#selecting(namespace)
        .filter(({ action }) => action === 'deny')
        .map(({ key }) => key),
      ...{ healthy: true, clusterId, hostNetwork: false, capacity: 1 },
      locality: { region: '', zone: '', subzone: '' },
      standIn: unsure === undefined ? {} : { unsure },
    };
  }

  /** Policies that select pods by labels, which may be this one's. */
  #selecting(namespace: string): Policy[] {
    return [...this.#options.policies.policies()].filter(
      (policy) => policy.scope === 'workload' && this.#concerns(policy.namespace, namespace),
    );
  }

  #concerns(ofPolicy: string, namespace: string): boolean {
    const { rootNamespace } = this.#options;
    return ofPolicy === namespace || rootNamespace === undefined || ofPolicy === rootNamespace;
  }

  /** Why nothing may come in. */
  #whyUnsure(namespace: string): string | undefined {
    const { followsAll, workloads } = this.#options;
    if (!followsAll) return 'this node does not know all services, and a waypoint may stand before the pod';
    const allows = this.#selecting(namespace).filter(({ action, dryRun }) => action === 'allow' && !dryRun);
    const names = allows.map(({ key }) => key).join(', ');
    if (allows.length > 0) return `which of the policies ${names} select it is not known`;
    const known = [...workloads.services(), ...workloads.workloads()];
    const ofNamespace = known.filter((each) => each.namespace === namespace && !isStandIn(each));
    const waypoints = known.filter(isWaypoint);
    // A label of its own may name one that nothing else has named yet.
    if (ofNamespace.some((each) => isBehindWaypoint(each) || isWaypoint(each)))
      return 'a waypoint of its namespace may stand before it';
    if (ofNamespace.length === 0 && waypoints.length > 0)
      return 'nothing is known of its namespace, and a waypoint may stand before it';
    return undefined;
  }

  /** Undefined: a policy may select it, so that nothing is known of what it may call. */
  #egressOf({ uid, namespace }: Workload): EgressWorkload | undefined {
    const { egress, clusterId } = this.#options;
    for (const { key } of egress.policies())
      if (this.#concerns(key.slice(0, key.indexOf('/')), namespace)) return undefined;
    // The setting is of the namespace or the mesh, and never of one pod.
    const siblings = [...egress.workloads()].filter(
      (each) => each.uid !== uid && each.uid.startsWith(`${clusterId}//Pod/${namespace}/`),
    );
    const open =
      siblings.length > 0 && siblings.every(({ unknownDestinations }) => unknownDestinations === 'allow');
    return { kind: 'workload', uid, policies: [], unknownDestinations: open ? 'allow' : 'refuse' };
  }
}

function isStandIn(each: Service | Workload): boolean {
  return each.kind === 'workload' && each.standIn !== undefined;
}

function isBehindWaypoint(each: Service | Workload): boolean {
  return each.waypoint !== undefined || (each.kind === 'service' && each.weightedWaypoints.length > 0);
}

/** Whether it is an instance of a waypoint: nothing else takes HBONE by itself. */
function isWaypoint(each: Service | Workload): boolean {
  return each.kind === 'workload' && each.nativeTunnel;
}
