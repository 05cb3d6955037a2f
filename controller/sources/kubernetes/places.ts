import type { Reflector } from '../../../lib/kubernetes/reflector.ts';
import { WAYPOINT_CLASS } from '../../model/gateway-api.ts';
import type { Assignments, GatewayAssignment, PodAssignment } from '../assignments.ts';
import { type Json, map, maps, texts } from './fields.ts';
import type { Picked } from './pick.ts';

/** The label by which the pods of a Gateway are known (Gateway API, GEP-1762). */
const GATEWAY_NAME_LABEL = 'gateway.networking.k8s.io/gateway-name';

type Held = Pick<Reflector<Picked>, 'objects'>;

/** What is read of pods, Services and Gateways to tell where they are. All keys are `namespace/name`. */
export interface PlaceSources {
  readonly pods: Held;
  readonly services: Held;
  readonly gateways: Held;
}

/**
 * Where pods and waypoints are, as kubelets and the API server say. A waypoint's Service and pods stand for their Gateway,
 * and are no Service and no workloads of their own.
 */
export class Places {
  readonly #sources: PlaceSources;
  /** Changed in place: there are many, and of them one changes at a time. */
  readonly #pods: Record<string, PodAssignment> = Object.create(null) as Record<string, PodAssignment>;
  /** Of each waypoint: its pods. */
  readonly #instances = new Map<string, Set<string>>();

  constructor(sources: PlaceSources) {
    this.#sources = sources;
  }

  /** To be called for each change of a pod, and for each pod of a Gateway that came or went. */
  update(key: string): void {
    const pod = this.#sources.pods.objects.get(key);
    const gateway = pod === undefined ? undefined : this.waypointOfPod(pod);
    for (const [other, members] of this.#instances) if (other !== gateway) members.delete(key);
    if (gateway !== undefined) {
      const members = this.#instances.get(gateway) ?? new Set();
      this.#instances.set(gateway, members.add(key));
    }
    const place = gateway === undefined && pod !== undefined ? assignmentOf(pod) : undefined;
    if (place === undefined) delete this.#pods[key];
    else this.#pods[key] = place;
  }

  current(): Assignments {
    const gateways: Record<string, GatewayAssignment> = {};
    for (const [key, gateway] of this.#sources.gateways.objects) {
      const assignment = isWaypoint(gateway) ? this.#gateway(key) : undefined;
      if (assignment !== undefined) gateways[key] = assignment;
    }
    return { pods: this.#pods, services: {}, gateways };
  }

  /** The Gateway whose instance a pod is: named by its label, with the identity that only that waypoint's pods have. */
  waypointOfPod({ metadata, object }: Picked): string | undefined {
    const labels = map(map(object, 'metadata'), 'labels');
    const name = labels[GATEWAY_NAME_LABEL];
    if (typeof name !== 'string' || map(object, 'spec')['serviceAccountName'] !== name) return undefined;
    const key = `${metadata.namespace}/${name}`;
    const gateway = this.#sources.gateways.objects.get(key);
    return gateway !== undefined && isWaypoint(gateway) ? key : undefined;
  }

  /** Whether a Service is a waypoint's: of its Gateway's name, and made for it. One that somebody else made is not. */
  isOfWaypoint({ metadata, object }: Picked): boolean {
    const key = `${metadata.namespace}/${metadata.name}`;
    const gateway = this.#sources.gateways.objects.get(key);
    if (gateway === undefined || !isWaypoint(gateway)) return false;
    return maps(map(object, 'metadata'), 'ownerReferences').some(
      ({ kind, uid }) => kind === 'Gateway' && uid === gateway.metadata.uid,
    );
  }

  #gateway(key: string): GatewayAssignment | undefined {
    const { services, pods } = this.#sources;
    const service = services.objects.get(key);
    if (service === undefined || !this.isOfWaypoint(service)) return undefined;
    const clusterIPs = (texts(map(service.object, 'spec'), 'clusterIPs') ?? []).filter(
      (ip) => ip !== 'None' && ip !== '',
    );
    if (clusterIPs.length === 0) return undefined;
    const instances = [...(this.#instances.get(key) ?? [])].sort().flatMap((name) => {
      const pod = pods.objects.get(name);
      const place = pod === undefined ? undefined : assignmentOf(pod);
      if (pod === undefined || place === undefined) return [];
      const { ips, node, ready } = place;
      return [{ name: pod.metadata.name, ips, node, ready: ready === true }];
    });
    return { clusterIPs, instances };
  }
}

function isWaypoint({ object }: Picked): boolean {
  return map(object, 'spec')['gatewayClassName'] === WAYPOINT_CLASS;
}

/** Undefined for a pod that has no address, not yet or not any more. */
function assignmentOf({ metadata: { uid }, object, place }: Picked): PodAssignment | undefined {
  const hasEnded = (object['status'] as Json | undefined)?.['phase'] !== undefined;
  if (place?.node === undefined || place.ips.length === 0 || hasEnded) return undefined;
  const { node, ips, ready } = place;
  return { ...(uid !== undefined && { uid }), ips, node, ready };
}
