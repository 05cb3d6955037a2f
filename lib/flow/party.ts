import type { Party } from './event.ts';

/** What the mesh knows of a pod, as far as a flow tells it; lib/mesh/state's Workload has it. */
export interface KnownWorkload {
  readonly name: string;
  readonly namespace: string;
  readonly workloadName: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly node: string;
  readonly identity: { readonly serviceAccount: string };
}

/** Istio's canonical revision of a workload that names none. */
const NO_REVISION = 'latest';

/**
 * One end of a flow.
 *
 * @param identity SPIFFE URI that was proved; undefined: none
 */
export function partyOf(
  workload: KnownWorkload | undefined,
  identity: string | undefined,
  address: { readonly ip: string; readonly port: number } | undefined,
): Party {
  return {
    ...(address && { ip: address.ip, port: address.port }),
    ...(workload && {
      workload: workload.name,
      namespace: workload.namespace,
      ...(workload.workloadName !== workload.name &&
        workload.workloadName !== '' && { owner: workload.workloadName }),
      ...(workload.canonicalName !== '' && { app: workload.canonicalName }),
      ...(workload.canonicalRevision !== '' &&
        workload.canonicalRevision !== NO_REVISION && { version: workload.canonicalRevision }),
      ...(workload.identity.serviceAccount !== '' && { account: workload.identity.serviceAccount }),
      ...(workload.node !== '' && { node: workload.node }),
    }),
    ...(identity !== undefined && { identity }),
  };
}
