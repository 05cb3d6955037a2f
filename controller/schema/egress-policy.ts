import { metadata, PORT, topLevel } from './core.ts';
import { list, OPAQUE, oneOf, record, type Schema, STRING, text } from './dsl.ts';
import { MESH_SETTINGS_NAME, OUTBOUND_TRAFFIC_POLICIES } from '../model/egress-policy.ts';
import { SELECTOR } from './security.ts';

// Fields and bounds: docs/egress-policy.md. What holds between fields is in ../sources/check-egress-policy.ts. An empty
// rule or list is refused: whether it would allow everything or nothing is exactly what must not be guessed.

const MAX_RULES = 64;
const MAX_VALUES = 64;
const MAX_PROVIDERS = 8;
/** More would cost the API server more, by its own reckoning, than it lets the rule for a CRD's value cost. */
const MAX_EXCEPTIONS = 32;

const upTo = (maxItems: number, items: Schema, minItems: number): Schema => ({
  ...list(items, minItems),
  maxItems,
});
const values = (items: Schema): Schema => upTo(MAX_VALUES, items, 1);

const SERVICE = record({ name: text('dns-label'), namespace: text('dns-label') }, ['name']);
const CIDR = record({ cidr: text('ip-block'), except: upTo(MAX_EXCEPTIONS, text('ip-block'), 1) }, ['cidr']);
const PORTS = record({ port: PORT, endPort: PORT }, ['port']);

const RULE = record(
  {
    services: values(SERVICE),
    serviceAccounts: values(text('service-account')),
    principals: values(text('principal')),
    namespaces: values(text('dns-label')),
    cidrs: values(CIDR),
    ports: values(PORTS),
  },
  [],
  { minProperties: 1 },
);

export const EGRESS_POLICY_SPEC = record({ selector: SELECTOR, allow: upTo(MAX_RULES, RULE, 0) });

export const EGRESS_POLICY: Schema = topLevel(
  metadata('subdomain', true),
  { spec: EGRESS_POLICY_SPEC, status: OPAQUE },
  ['spec'],
);

export const MESH_SETTINGS_SPEC = record({
  outboundTrafficPolicy: oneOf(...OUTBOUND_TRAFFIC_POLICIES),
  telemetryProviders: upTo(
    MAX_PROVIDERS,
    record({ name: text('dns-label'), otlp: record({ endpoint: STRING }, ['endpoint']) }, ['name', 'otlp']),
    0,
  ),
});

const SETTINGS_METADATA = metadata('subdomain', false);

export const MESH_SETTINGS: Schema = topLevel(
  {
    ...SETTINGS_METADATA,
    properties: { ...(SETTINGS_METADATA['properties'] as object), name: oneOf(MESH_SETTINGS_NAME) },
  },
  { spec: MESH_SETTINGS_SPEC, status: OPAQUE },
  ['spec'],
);
