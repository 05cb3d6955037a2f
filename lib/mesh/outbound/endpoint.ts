import { parseSpiffeUri, spiffeUri } from '../../spiffe.ts';
import type { Service, ServicePort, Workload } from '../state/model.ts';
import type { WorkloadStore } from '../state/workload-store.ts';

/** The endpoint's own port for this service port, else the service's; undefined when neither says one. */
export function targetPortOf(ports: readonly ServicePort[], servicePort: ServicePort): number | undefined {
  const own = ports.find((p) => p.servicePort === servicePort.servicePort && p.targetPort !== 0);
  return own?.targetPort ?? (servicePort.targetPort || undefined);
}

/**
 * The SPIFFE IDs of which a workload must present one: its own, first, and those of the service by which it is reached;
 * of all its services when it is reached by its address.
 */
export function expectedIdentities(
  store: WorkloadStore,
  workload: Workload,
  service: Service | undefined,
): string[] {
  const services = service ? [service] : workload.services.map((m) => store.service(m.service));
  const expected = new Set([spiffeUri(workload.identity)]);
  for (const san of services.flatMap((s) => s?.subjectAltNames ?? [])) if (isSpiffe(san)) expected.add(san);
  return [...expected];
}

function isSpiffe(san: string): boolean {
  try {
    parseSpiffeUri(san);
    return true;
  } catch {
    return false;
  }
}
