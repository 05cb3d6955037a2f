import { canonicalIp } from '../../lib/mesh/state/ip.ts';
import type { GatewayAddress, Service, Workload } from '../../lib/mesh/state/model.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import type { Pod } from '../proxy/pod.ts';
import { waypointsOf } from '../../lib/mesh/outbound/waypoint.ts';

/**
 * Sees to it that what a connection dials is known, where this node does not follow the whole mesh: the destination, and the
 * waypoint before it. Asks the control plane at most once for each, and waits up to 5 s. Without an answer nothing is dialled:
 * what is not known may be a pod of the mesh, which must not be reached in plaintext, or stand behind a waypoint.
 *
 * @throws ProxyError DESTINATION_UNKNOWN
 */
export async function settleDestination(pod: Pod, own: Workload, dialled: string): Promise<void> {
  const { demand, workloads, egress } = pod.mesh;
  const ip = canonicalIp(dialled);
  if (demand === undefined || ip === undefined || own.addresses.includes(ip)) return;
  const find = (): Workload | Service | undefined => workloads.byAddress(own.network, ip, own.namespace);
  await need(pod, `${own.network}/${ip}`, find);
  const found = find();
  if (found === undefined) return;
  for (const gateway of gatewaysOf(found)) await need(pod, nameOf(gateway), () => at(workloads, gateway));
  // Rules that name a headless Service are about its pods.
  const isRestricted = (egress?.applicable(own.uid)?.policies.length ?? 0) > 0;
  if (found.kind === 'workload' && isRestricted)
    for (const { service } of found.services) await need(pod, service, () => workloads.service(service));
}

/** @throws ProxyError DESTINATION_UNKNOWN */
async function need(pod: Pod, name: string, find: () => unknown): Promise<void> {
  const { demand, limits } = pod.mesh;
  if (demand === undefined) return;
  if (find() === undefined) {
    const answer = await demand.whenTold(pod.info.uid, name, limits.stateWaitMs);
    if (answer === 'late')
      throw new ProxyError(
        'DESTINATION_UNKNOWN',
        `the control plane did not say within ${limits.stateWaitMs} ms what ${name} is`,
      );
    if (answer === 'too-many')
      throw new ProxyError('DESTINATION_UNKNOWN', `the pod dials too many new addresses: ${name}`);
  }
  demand.used(name, find() === undefined);
}

function gatewaysOf(found: Workload | Service): GatewayAddress[] {
  if (found.kind === 'service') return waypointsOf(found).map(({ gateway }) => gateway);
  return found.waypoint === undefined ? [] : [found.waypoint];
}

function nameOf(gateway: GatewayAddress): string {
  return gateway.by === 'hostname' ? gateway.service : `${gateway.address.network}/${gateway.address.ip}`;
}

function at(workloads: WorkloadStore, gateway: GatewayAddress): Workload | Service | undefined {
  if (gateway.by === 'hostname') return workloads.service(gateway.service);
  return workloads.byAddress(gateway.address.network, gateway.address.ip);
}
