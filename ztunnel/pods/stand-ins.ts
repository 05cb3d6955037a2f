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

export class StandIns {
  readonly #options: StandInOptions;
  readonly #now: () => number;
  /** By pod: the uid of what stands in for it. */
  readonly #made = new Map<string, string>();
  #away = false;
  #since: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: StandInOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#since = this.#now();
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
    if (away && forMs >= AWAY_MS) for (const pod of rows) this.#standIn(pod);
  }

  #withdraw(alive: ReadonlySet<string>, all: boolean): void {
    const { workloads, apply, log } = this.#options;
    for (const [pod, uid] of this.#made) {
      // The control plane has told of the pod meanwhile.
      const isReplaced = workloads.byUid(uid)?.standIn === undefined;
      if (!isReplaced && alive.has(pod) && !all) continue;
      this.#made.delete(pod);
      if (isReplaced) continue;
      apply({ upserts: [], removed: [uid] }, { upserts: [], removed: [`workload/${uid}`] });
      log.info('nothing stands in for the pod any more', { pod, workload: uid });
    }
  }

  #standIn(pod: PodRow): void {
    const { clusterId, workloads, apply, log } = this.#options;
    const { uid: podUid, namespace, name, serviceAccount, ips = [] } = pod;
    if (ips.length === 0 || workloads.workloadOfPod({ clusterId, namespace, name, serviceAccount })) return;
    const workload = this.#workload(pod, ips);
    const egress = this.#egressOf(workload);
    this.#made.set(podUid, workload.uid);
    apply(
      { upserts: [workload], removed: [] },
      { upserts: egress === undefined ? [] : [egress], removed: [] },
    );
    log.warn('no control plane can be asked: the pod is gone by as its agent tells it', {
      pod: podUid,
      workload: workload.uid,
      inbound: workload.standIn?.unsure ?? 'by HBONE',
      outbound: egress === undefined ? 'it is not known what it may call' : 'as its namespace',
    });
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
    const stands = (each: Service | Workload): boolean =>
      each.namespace === namespace &&
      (each.waypoint !== undefined || (each.kind === 'service' && each.weightedWaypoints.length > 0));
    if ([...workloads.services()].some(stands) || [...workloads.workloads()].some(stands))
      return 'a waypoint of its namespace may stand before it';
    return undefined;
  }

  /** Undefined: a policy may select it, so that nothing is known of what it may call. */
  #egressOf({ uid, namespace }: Workload): EgressWorkload | undefined {
    const { egress, clusterId } = this.#options;
    for (const { key } of egress.policies())
      if (this.#concerns(key.slice(0, key.indexOf('/')), namespace)) return undefined;
    // The setting is of the namespace or the mesh, and never of one pod.
    const siblings = [...egress.workloads()].filter((each) =>
      each.uid.startsWith(`${clusterId}//Pod/${namespace}/`),
    );
    const open =
      siblings.length > 0 && siblings.every(({ unknownDestinations }) => unknownDestinations === 'allow');
    return { kind: 'workload', uid, policies: [], unknownDestinations: open ? 'allow' : 'refuse' };
  }
}
