import { canonicalIp } from '../state/ip.ts';
import type { GatewayAddress, Service, ServicePort, Workload } from '../state/model.ts';
import type { WorkloadStore } from '../state/workload-store.ts';
import type { HostPort } from '../hbone/hbone-headers.ts';
import { Protocol, type Service as ServedService } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { ConfigStore } from './config-store.ts';

/** What a client's CONNECT asks for, as far as this waypoint serves it. */
export type Destination =
  | {
      readonly kind: 'service';
      readonly service: ServedService;
      readonly port: number;
      readonly protocol: Protocol;
      /** Set where the client dialled one pod of it: it goes there and nowhere else. */
      readonly pinned: { readonly workload: Workload; readonly port: number } | undefined;
    }
  /** A pod that has this waypoint of its own and no Service at that port. */
  | { readonly kind: 'workload'; readonly workload: Workload; readonly port: number }
  | { readonly kind: 'refused'; readonly status: 400 | 404 | 503; readonly reason: string };

export interface DestinationContext {
  readonly config: ConfigStore;
  readonly workloads: WorkloadStore;
  readonly network: string;
  /** Key of this waypoint's own Service. */
  readonly ownService: string;
}

/**
 * What an address means here. A waypoint carries only to what opted in to it: it is no open proxy for whoever has a
 * certificate of the mesh.
 */
export function findDestination(context: DestinationContext, { ip, port }: HostPort): Destination {
  const { config, workloads, network } = context;
  const address = canonicalIp(ip);
  if (address === undefined) return refused(400, `${ip} is no address`);
  const service = workloads.serviceAtExactly(network, address);
  if (service !== undefined) {
    const served = config.service(service.key);
    if (served?.served !== true) return refused(404, `service ${service.key} is not behind this waypoint`);
    const known = served.ports.find((p) => p.port === port);
    if (known === undefined) return refused(503, `service ${service.key} has no port ${port}`);
    return { kind: 'service', service: served, port, protocol: known.protocol, pinned: undefined };
  }
  const workload = workloads.workloadAt(network, address);
  if (workload === undefined) return refused(404, `nothing at ${ip} is behind this waypoint`);
  for (const { service: key, ports } of workload.services) {
    const served = config.service(key);
    if (served?.served !== true) continue;
    const servicePort = servicePortOf(ports, served, workloads.service(key), port);
    if (servicePort === undefined) continue;
    const protocol = served.ports.find((p) => p.port === servicePort)?.protocol ?? Protocol.TCP;
    return {
      kind: 'service',
      service: served,
      port: servicePort,
      protocol,
      pinned: { workload, port },
    };
  }
  return workload.waypoint !== undefined && isOwn(context, workload.waypoint)
    ? { kind: 'workload', workload, port }
    : refused(404, `workload ${workload.uid} is not behind this waypoint`);
}

/** The port of a Service that leads to this port of the pod. */
function servicePortOf(
  ports: readonly ServicePort[],
  served: ServedService,
  service: Service | undefined,
  targetPort: number,
): number | undefined {
  for (const { port } of served.ports) {
    // 0 is a target port by name, which the pod itself must say.
    const own = ports.find((p) => p.servicePort === port && p.targetPort !== 0)?.targetPort;
    const general = service?.ports.find((p) => p.servicePort === port)?.targetPort;
    if ((own ?? general ?? port) === targetPort) return port;
  }
  return undefined;
}

function isOwn({ ownService, workloads, network }: DestinationContext, gateway: GatewayAddress): boolean {
  if (gateway.by === 'hostname') return gateway.service === ownService;
  return workloads.serviceAtExactly(network, gateway.address.ip)?.key === ownService;
}

function refused(status: 400 | 404 | 503, reason: string): Destination {
  return { kind: 'refused', status, reason };
}
