import { MTLS_MODES } from '../model/objects.ts';
import { metadata, topLevel } from './core.ts';
import { list, mapOf, OPAQUE, oneOf, record, type Schema, STRING, text } from './dsl.ts';

// Field names: Istio's security.istio.io/v1. An empty list or an empty source, operation or condition is refused:
// whether it would match everything or nothing is exactly what must not be guessed in a policy.

const values = (format: string): Schema => list(text(format), 1);
const nonEmpty = { minProperties: 1 };

export const SELECTOR = record({ matchLabels: mapOf(text('label-value'), 'qualified-name') });

const SOURCE = record(
  {
    principals: values('principal'),
    notPrincipals: values('principal'),
    namespaces: values('wildcard'),
    notNamespaces: values('wildcard'),
    serviceAccounts: values('service-account'),
    notServiceAccounts: values('service-account'),
    ipBlocks: values('ip-block'),
    notIpBlocks: values('ip-block'),
    remoteIpBlocks: values('ip-block'),
    notRemoteIpBlocks: values('ip-block'),
    requestPrincipals: values('wildcard'),
    notRequestPrincipals: values('wildcard'),
  },
  [],
  nonEmpty,
);

const OPERATION = record(
  {
    ports: values('port-number'),
    notPorts: values('port-number'),
    hosts: values('wildcard'),
    notHosts: values('wildcard'),
    methods: values('wildcard'),
    notMethods: values('wildcard'),
    // A path may be a template ({*}, {**}), which only a waypoint reads.
    paths: list({ type: 'string', minLength: 1 }, 1),
    notPaths: list({ type: 'string', minLength: 1 }, 1),
  },
  [],
  nonEmpty,
);

const CONDITION = record(
  { key: { type: 'string', minLength: 1 }, values: list(STRING, 1), notValues: list(STRING, 1) },
  ['key'],
);

const RULE = record({
  from: list(record({ source: SOURCE }, ['source']), 1),
  to: list(record({ operation: OPERATION }, ['operation']), 1),
  when: list(CONDITION, 1),
});

export const TARGET_REF = record(
  { group: STRING, kind: STRING, name: text('subdomain'), namespace: STRING },
  ['kind', 'name'],
);

/** An object's spec may be absent or null in Istio's kinds: an empty policy has a meaning. */
export function optionalSpec(spec: Schema): Schema {
  return { ...spec, type: ['object', 'null'] };
}

export const AUTHORIZATION_POLICY: Schema = topLevel(metadata('subdomain', true), {
  spec: optionalSpec(
    record({
      selector: SELECTOR,
      targetRef: TARGET_REF,
      targetRefs: list(TARGET_REF, 1),
      action: oneOf('ALLOW', 'DENY', 'AUDIT'),
      rules: list(RULE),
    }),
  ),
  status: OPAQUE,
});

const MTLS = record({ mode: oneOf(...MTLS_MODES) });

export const PEER_AUTHENTICATION: Schema = topLevel(metadata('subdomain', true), {
  spec: optionalSpec(record({ selector: SELECTOR, mtls: MTLS, portLevelMtls: mapOf(MTLS, 'port-number') })),
  status: OPAQUE,
});
