import type { Base, Labels } from './meta.ts';

export const RESOLUTIONS = ['NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN'] as const;

export interface EntryPort {
  readonly number: number;
  readonly name: string;
  readonly protocol?: string;
  readonly targetPort?: number;
}

export interface EntryEndpoint {
  readonly address?: string;
  /** By the names of the entry's ports. */
  readonly ports?: Readonly<Record<string, number>>;
  readonly labels?: Labels;
  readonly network?: string;
  /** `region/zone/subzone`. */
  readonly locality?: string;
  readonly weight?: number;
  readonly serviceAccount?: string;
}

/** networking.istio.io/v1: destinations that no Service of the cluster stands for. */
export interface ServiceEntry extends Base<'ServiceEntry'> {
  readonly spec: {
    readonly hosts: readonly string[];
    readonly addresses?: readonly string[];
    readonly ports: readonly EntryPort[];
    readonly location?: 'MESH_EXTERNAL' | 'MESH_INTERNAL';
    readonly resolution?: (typeof RESOLUTIONS)[number];
    readonly endpoints?: readonly EntryEndpoint[];
    readonly workloadSelector?: { readonly labels?: Labels };
    readonly exportTo?: readonly string[];
    readonly subjectAltNames?: readonly string[];
  };
}
