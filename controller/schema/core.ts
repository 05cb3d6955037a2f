import {
  BOOLEAN,
  fields,
  INT_OR_STRING,
  INTEGER,
  list,
  mapOf,
  OPAQUE,
  oneOf,
  record,
  type Schema,
  STRING,
  text,
} from './dsl.ts';

export const PORT: Schema = { type: 'integer', minimum: 1, maximum: 65535 };
const PROTOCOL = oneOf('TCP', 'UDP', 'SCTP');

/** ObjectMeta (Kubernetes API, meta/v1), with names as each kind wants them. */
export function metadata(name: string, namespaced: boolean): Schema {
  return record(
    {
      name: text(name),
      ...(namespaced ? { namespace: text('dns-label') } : {}),
      labels: mapOf(text('label-value'), 'qualified-name'),
      annotations: mapOf(STRING, 'qualified-name'),
      ...fields(STRING, 'uid resourceVersion creationTimestamp deletionTimestamp selfLink generateName'),
      ...fields(INTEGER, 'generation deletionGracePeriodSeconds'),
      finalizers: list(STRING),
      ownerReferences: list(
        record(
          {
            ...fields(STRING, 'apiVersion kind name uid'),
            ...fields(BOOLEAN, 'controller blockOwnerDeletion'),
          },
          ['kind', 'name'],
        ),
      ),
      managedFields: list(OPAQUE),
    },
    ['name'],
  );
}

/** The outermost shape that all kinds share. */
export function topLevel(
  meta: Schema,
  rest: Record<string, Schema>,
  required: readonly string[] = [],
): Schema {
  return record({ apiVersion: STRING, kind: STRING, metadata: meta, ...rest }, [
    'apiVersion',
    'kind',
    'metadata',
    ...required,
  ]);
}

export const NAMESPACE: Schema = topLevel(metadata('dns-label', false), {
  spec: record({ finalizers: list(STRING) }),
  status: OPAQUE,
});

export const SERVICE_ACCOUNT: Schema = topLevel(metadata('subdomain', true), {
  secrets: list(OPAQUE),
  imagePullSecrets: list(record({ name: STRING })),
  automountServiceAccountToken: BOOLEAN,
});

const SERVICE_PORT = record(
  {
    name: text('dns-label'),
    protocol: PROTOCOL,
    appProtocol: text('qualified-name'),
    port: PORT,
    targetPort: INT_OR_STRING,
    nodePort: { type: 'integer', minimum: 0, maximum: 65535 },
  },
  ['port'],
);

export const SERVICE: Schema = topLevel(
  metadata('dns-label', true),
  {
    spec: record({
      type: oneOf('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
      clusterIP: text('cluster-ip'),
      clusterIPs: list(text('cluster-ip')),
      ipFamilies: list(oneOf('IPv4', 'IPv6')),
      ipFamilyPolicy: oneOf('SingleStack', 'PreferDualStack', 'RequireDualStack'),
      selector: mapOf(text('label-value'), 'qualified-name'),
      ports: list(SERVICE_PORT),
      externalIPs: list(text('ip')),
      sessionAffinity: oneOf('None', 'ClientIP'),
      sessionAffinityConfig: OPAQUE,
      ...fields(
        STRING,
        'externalName loadBalancerIP loadBalancerClass externalTrafficPolicy trafficDistribution',
      ),
      internalTrafficPolicy: oneOf('Cluster', 'Local'),
      loadBalancerSourceRanges: list(STRING),
      healthCheckNodePort: INTEGER,
      ...fields(BOOLEAN, 'publishNotReadyAddresses allocateLoadBalancerNodePorts'),
    }),
    status: OPAQUE,
  },
  ['spec'],
);
