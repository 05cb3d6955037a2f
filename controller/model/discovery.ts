import type { Base } from './meta.ts';

/** A machine of the cluster: where it is, and by which addresses. */
export interface Node extends Base<'Node'> {
  readonly status?: {
    readonly addresses?: readonly { readonly type: string; readonly address: string }[];
  };
}

export interface SlicePort {
  readonly name?: string;
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP';
  readonly appProtocol?: string;
  /** Absent: all ports, which nobody can serve by name. */
  readonly port?: number;
}

export interface SliceEndpoint {
  readonly addresses: readonly string[];
  /** Absent conditions mean that it is ready (discovery.k8s.io/v1). */
  readonly conditions?: {
    readonly ready?: boolean;
    readonly serving?: boolean;
    readonly terminating?: boolean;
  };
  readonly targetRef?: { readonly kind?: string; readonly namespace?: string; readonly name?: string };
  readonly nodeName?: string;
  readonly zone?: string;
}

/** discovery.k8s.io/v1: where a Service is, said by somebody else than its selector. */
export interface EndpointSlice extends Base<'EndpointSlice'> {
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN';
  readonly endpoints?: readonly SliceEndpoint[];
  readonly ports?: readonly SlicePort[];
}

/** The Service that a slice belongs to, by label. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
/** Who keeps a slice, by label. */
export const MANAGED_BY_LABEL = 'endpointslice.kubernetes.io/managed-by';
/** The part of Kubernetes that makes slices of the pods that a Service's selector has. */
export const SELECTOR_CONTROLLER = 'endpointslice-controller.k8s.io';
