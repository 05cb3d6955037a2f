import type { MeshSettings, OutboundTrafficPolicy } from '../../model/egress-policy.ts';
import type { Namespace } from '../../model/objects.ts';

/** On a Namespace: overrides the mesh's outboundTrafficPolicy for its pods. */
export const OUTBOUND_LABEL = 'loam.dev/outbound-traffic-policy';
const BY_LABEL: Readonly<Record<string, OutboundTrafficPolicy>> = {
  'allow-any': 'ALLOW_ANY',
  'registry-only': 'REGISTRY_ONLY',
};
export const OUTBOUND_LABEL_VALUES = Object.keys(BY_LABEL);
export const DEFAULT_OUTBOUND: OutboundTrafficPolicy = 'ALLOW_ANY';

/** What a namespace says for itself, if it does. */
export function outboundOfNamespace(namespace: Namespace | undefined): OutboundTrafficPolicy | undefined {
  return BY_LABEL[namespace?.metadata.labels?.[OUTBOUND_LABEL] ?? ''];
}

export function outboundOfMesh(settings: MeshSettings | undefined): OutboundTrafficPolicy {
  return settings?.spec.outboundTrafficPolicy ?? DEFAULT_OUTBOUND;
}
