import { randomUUID } from 'node:crypto';
import { errorText } from '../../lib/loam-error.ts';
import { addressesOf, clusterIpsOf, type AddressPlan } from './addresses.ts';
import { writeIfChanged } from './files.ts';
import { hostsFile, type NamedPod } from './hosts.ts';
import type { LogFile } from './log-file.ts';
import {
  ADDRESS_ANNOTATION,
  immutablePart,
  podKey,
  type AcceptedObjects,
  type PodManifest,
  type ServiceManifest,
} from './model.ts';
import { deleteNetns, type MeshNetwork } from './network.ts';
import type { NodePool } from './node-pool.ts';
import { netnsPath } from './names.ts';
import type { MeshPaths } from './paths.ts';
import { Pod } from './pod.ts';
import type { ProcessRecords } from './process-record.ts';
import { gatewayVipKey, type WaypointPool } from './waypoint-pool.ts';

/** How often pods on their way (not enrolled yet, not listening yet) are looked at. */
const WATCH_INTERVAL_MS = 100;
const RETRY_MS = 1_000;
/** Annotations that the agent may read. */
const LOAM_PREFIX = 'loam.dev/';

export interface KubeletOptions {
  readonly paths: MeshPaths;
  readonly plan: AddressPlan;
  readonly network: MeshNetwork;
  readonly nodes: NodePool;
  readonly waypoints: WaypointPool;
  readonly env: NodeJS.ProcessEnv;
  readonly records: ProcessRecords;
  readonly manifests: string;
  readonly log: LogFile;
  /** The pods of a node that its agent has enrolled, by uid, read from the kernel. */
  readonly enrolledUids: (node: string) => Promise<ReadonlySet<string>>;
}

/**
 * Plays kubelet and endpoint controller for all nodes of the mesh: makes running what the controller accepted,
 * and writes down the addresses that a cluster would write into statuses. Level-triggered: each round compares
 * what shall be with what is.
 */
export class Kubelet {
  readonly #options: KubeletOptions;
  readonly #pods = new Map<string, Pod>();
  #objects: AcceptedObjects | undefined;
  #settled: number | undefined;
  #problem: string | undefined;
  #round: Promise<void> | undefined;
  #again = false;
  #watching = false;
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: KubeletOptions) {
    this.#options = options;
    this.#publish();
  }

  get pods(): readonly Pod[] {
    return [...this.#pods.values()];
  }

  /** The generation of the objects whose pods were all started (and ended); undefined before the first. */
  get generation(): number | undefined {
    return this.#settled;
  }

  /** Takes a new set of accepted objects. */
  apply(objects: AcceptedObjects): void {
    this.#objects = objects;
    this.#schedule();
  }

  /** Writes anew what depends on the waypoints: one of them is ready now, or not any more. */
  waypointsChanged(): void {
    if (!this.#stopped) this.#publishOrRetry();
  }

  /** Why the last try to have all run, or to tell others of it, failed; undefined when it did not. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Ends all pods, then all waypoints. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    await this.#round;
    await Promise.all(this.pods.map((pod) => pod.stop('kill')));
    await this.#options.waypoints.stop();
  }

  #schedule(): void {
    if (this.#stopped) return;
    if (this.#round) {
      this.#again = true;
      return;
    }
    this.#round = this.#reconcile()
      .then(() => {
        this.#problem = undefined;
      })
      .catch((error: unknown) => this.#failed(error))
      .finally(() => {
        this.#round = undefined;
        if (!this.#again) return;
        this.#again = false;
        this.#schedule();
      });
  }

  #failed(error: unknown): void {
    this.#problem = errorText(error);
    this.#options.log.line(`pods: ${this.#problem}`);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#schedule(), RETRY_MS);
  }

  /** For events: a full disk must not end the mesh, and it is tried again. */
  #publishOrRetry(): void {
    try {
      this.#publish();
    } catch (error) {
      this.#failed(error);
    }
  }

  async #reconcile(): Promise<void> {
    const objects = this.#objects;
    if (objects === undefined) return;
    const wanted = new Map(objects.pods.map((pod) => [podKey(pod), pod]));
    const gone = [...this.#pods].filter(([key, pod]) => {
      const manifest = wanted.get(key);
      return (
        manifest === undefined ||
        pod.phase.phase === 'failed' ||
        immutablePart(manifest) !== immutablePart(pod.manifest)
      );
    });
    for (const [key] of gone) this.#pods.delete(key);
    this.#options.plan.keepVips(
      new Set([
        ...objects.services.map(podKey),
        ...objects.gateways.map((gateway) => gatewayVipKey(podKey(gateway))),
      ]),
    );
    // First nobody is sent there any more, then it ends.
    if (gone.length > 0) this.#publish();
    await Promise.all(gone.map(([key, pod]) => this.#remove(key, pod)));

    const missing = [...wanted].filter(([key]) => !this.#pods.has(key));
    for (const [key, pod] of this.#pods) {
      const manifest = wanted.get(key);
      if (manifest === undefined) continue;
      pod.manifest = manifest;
      pod.namespaceLabels = objects.namespaces.get(manifest.namespace) ?? {};
    }
    const podNodes = new Set(objects.pods.map((pod) => pod.nodeName));
    const results = await Promise.allSettled([
      this.#options.waypoints.apply(objects.gateways, podNodes),
      ...missing.map(([key, pod]) => this.#create(key, pod, objects)),
    ]);
    this.#publish();
    void this.#watch();
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
    this.#settled = objects.generation;
  }

  async #create(key: string, manifest: PodManifest, objects: AcceptedObjects): Promise<void> {
    const { plan, network, nodes, paths, env, records, manifests } = this.#options;
    const { namespace, name, nodeName } = manifest;
    await nodes.ensure(nodeName);
    const ips = addressesOf(
      plan.allocatePod(key, nodeName, manifest.annotations[ADDRESS_ANNOTATION]),
      manifest.families,
    );
    let netns: string;
    try {
      netns = await network.addPod(nodeName, namespace, name, ips);
    } catch (error) {
      plan.releasePod(key);
      await deleteNetns(network.pod(namespace, name));
      throw error;
    }
    const pod = new Pod({
      manifest,
      namespaceLabels: objects.namespaces.get(namespace) ?? {},
      uid: randomUUID(),
      ips,
      netns,
      dir: paths.podDir(namespace, name),
      logOf: (container) => paths.podLog(namespace, name, container),
      cwd: manifests,
      env,
      records,
      onChange: () => this.#changed(pod),
    });
    this.#pods.set(key, pod);
    this.#publish();
    await pod.start();
  }

  async #remove(key: string, pod: Pod): Promise<void> {
    await pod.stop(pod.phase.phase === 'failed' ? 'kill' : 'gracefully');
    await deleteNetns(pod.netns);
    this.#options.plan.releasePod(key);
  }

  #changed(pod: Pod): void {
    if (this.#stopped) return;
    if (pod.phase.phase === 'failed') {
      this.#options.log.line(`pod ${podKey(pod.manifest)}: ${pod.phase.why}`);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.#schedule(), RETRY_MS);
    }
    this.#publishOrRetry();
    void this.#watch();
  }

  /** Releases held pods once enrolled and sees pods become ready; ends when nothing is on its way. */
  async #watch(): Promise<void> {
    if (this.#watching) return;
    this.#watching = true;
    try {
      for (;;) {
        const onTheirWay = this.pods.filter((pod) => pod.phase.phase === 'held' || !pod.ready);
        if (this.#stopped || onTheirWay.length === 0) return;
        const enrolled = new Map<string, Promise<ReadonlySet<string>>>();
        for (const pod of onTheirWay) {
          const node = pod.manifest.nodeName;
          if (pod.phase.phase !== 'held') pod.checkReady();
          else if (!pod.wantsEnrolment) pod.release();
          else {
            const known =
              enrolled.get(node) ?? this.#options.enrolledUids(node).catch(() => new Set<string>());
            enrolled.set(node, known);
            if ((await known).has(pod.uid)) pod.release();
          }
        }
        await new Promise((resolve) => setTimeout(resolve, WATCH_INTERVAL_MS));
      }
    } finally {
      this.#watching = false;
    }
  }

  /** Writes what others read: assignments, each node's pods, each pod's names. */
  #publish(): void {
    const { paths, plan, nodes, waypoints } = this.#options;
    const services = this.#objects?.services ?? [];
    const vips = new Map<string, readonly string[]>();
    for (const service of services) {
      if (service.headless) continue;
      const key = podKey(service);
      vips.set(
        key,
        clusterIpsOf(service.families, service.clusterIPs, () => plan.vip(key)),
      );
    }
    const gateways = waypoints.assignments();
    const assignments = {
      pods: Object.fromEntries([...this.#pods].map(([key, pod]) => [key, assignment(pod)])),
      services: Object.fromEntries([...vips].map(([key, clusterIPs]) => [key, { clusterIPs }])),
      ...(gateways === undefined ? {} : { gateways }),
    };
    writeIfChanged(paths.assignments, `${JSON.stringify(assignments, null, 1)}\n`);
    for (const node of nodes.all) {
      const pods = this.pods.filter((pod) => pod.manifest.nodeName === node.name).map(agentPod);
      writeIfChanged(paths.podsOf(node.name), `${JSON.stringify({ pods }, null, 1)}\n`);
    }
    this.#writeHosts(services, vips);
  }

  #writeHosts(services: readonly ServiceManifest[], vips: ReadonlyMap<string, readonly string[]>): void {
    const pods = this.pods.map(namedPod);
    for (const pod of this.pods)
      pod.setHosts(hostsFile({ self: namedPod(pod), enrolled: pod.wantsEnrolment, services, pods, vips }));
  }
}

function assignment(pod: Pod): object {
  return { uid: pod.uid, ips: pod.ips, node: pod.manifest.nodeName, ready: pod.ready };
}

function agentPod(pod: Pod): object {
  const { name, namespace, serviceAccount, labels } = pod.manifest;
  return {
    uid: pod.uid,
    name,
    namespace,
    serviceAccount,
    netns: netnsPath(pod.netns),
    ips: pod.ips,
    labels,
    annotations: Object.fromEntries(
      Object.entries(pod.manifest.annotations).filter(([key]) => key.startsWith(LOAM_PREFIX)),
    ),
    namespaceLabels: pod.namespaceLabels,
  };
}

function namedPod(pod: Pod): NamedPod {
  const { name, namespace, labels } = pod.manifest;
  return { name, namespace, labels, ips: pod.ips, ready: pod.ready };
}
