import { create } from '@bufbuild/protobuf';
import { type Locality, LocalitySchema } from '../../proto/gen/istio/workload/workload_pb.js';
import type { Node } from '../model/objects.ts';
import { canonicalAddress } from './addresses.ts';

const REGION_LABEL = 'topology.kubernetes.io/region';
const ZONE_LABEL = 'topology.kubernetes.io/zone';

/** Where nodes are, by name; without those that do not say. */
export type Localities = ReadonlyMap<string, Locality>;

/** Reads regions and zones of nodes from the labels that clouds put on them (KEP-1659). */
export function localitiesOf(nodes: readonly Node[]): Localities {
  return new Map(
    nodes.flatMap(({ metadata: { name, labels = {} } }): [string, Locality][] => {
      const region = labels[REGION_LABEL] ?? '';
      const zone = labels[ZONE_LABEL] ?? '';
      return region === '' && zone === '' ? [] : [[name, create(LocalitySchema, { region, zone })]];
    }),
  );
}

/** A node's own addresses, which it shares with every pod on its network. */
export function nodeAddresses({ status }: Node): string[] {
  return (status?.addresses ?? []).flatMap(({ type, address }) =>
    type.endsWith('IP') ? [canonicalAddress(address)] : [],
  );
}
