import type { Identity } from '../../spiffe.ts';
import { ipToBytes } from '../state/ip.ts';
import type { Service, Workload } from '../state/model.ts';
import type { WorkloadStore } from '../state/workload-store.ts';
import type { HostPort } from '../hbone/hbone-headers.ts';
import type { Upstream } from '../outbound/upstream.ts';
import type { EgressFacts } from './evaluate.ts';

/** What an application dials, as the mesh knows it. */
export interface Dialled {
  readonly facts: EgressFacts;
  readonly service: Service | undefined;
  /** The pod that is dialled by its own address, or that was chosen for the Service. */
  readonly workload: Workload | undefined;
}

/**
 * Reads what is dialled. A Service is what is dialled where the address is its virtual one, whatever stands behind or
 * before it; a pod's address means that pod, and each headless Service of it at that port, since such a Service has no
 * other address.
 *
 * @param upstream where the connection goes: says which pod was chosen for a Service
 */
export function readDialled(
  store: WorkloadStore,
  source: Workload,
  destination: HostPort,
  upstream: Upstream,
): Dialled {
  const { ip, port } = destination;
  const bytes = ipToBytes(ip) ?? [];
  const found = store.byAddress(source.network, ip, source.namespace);
  if (found === undefined) {
    const text = `${bracketed(ip)}:${port}`;
    return {
      facts: { ip: bytes, port, services: [], namespace: undefined, identity: undefined, known: false, text },
      service: undefined,
      workload: undefined,
    };
  }
  if (found.kind === 'service') {
    const chosen = upstream.kind === 'hbone' || upstream.kind === 'direct' ? upstream.workload : undefined;
    return {
      facts: {
        ip: bytes,
        port,
        services: [found.key],
        namespace: found.namespace,
        identity: provenIdentity(upstream),
        known: true,
        text: `Service ${found.namespace}/${found.name} port ${port}`,
      },
      service: found,
      workload: chosen,
    };
  }
  const services = headlessServices(store, found, port);
  return {
    facts: {
      ip: bytes,
      port,
      services: services.map(({ key }) => key),
      namespace: found.namespace,
      identity: provenIdentity(upstream),
      known: true,
      text: `pod ${found.namespace}/${found.name} port ${port} by its address`,
    },
    service: services.length === 1 ? services[0] : undefined,
    workload: found,
  };
}

/** Proved by mutual TLS alone, and by one that admits no other; behind a waypoint only the waypoint knows it. */
function provenIdentity(upstream: Upstream): Identity | undefined {
  return upstream.kind === 'hbone' && upstream.expectedIdentities.length === 1
    ? upstream.workload.identity
    : undefined;
}

function headlessServices(store: WorkloadStore, workload: Workload, port: number): Service[] {
  return workload.services.flatMap(({ service: key, ports }) => {
    const service = store.service(key);
    const isMeant = service?.addresses.length === 0 && ports.some(({ targetPort }) => targetPort === port);
    return service !== undefined && isMeant ? [service] : [];
  });
}

function bracketed(ip: string): string {
  return ip.includes(':') ? `[${ip}]` : ip;
}
