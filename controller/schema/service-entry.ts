import { RESOLUTIONS } from '../model/service-entry.ts';
import { metadata, PORT, topLevel } from './core.ts';
import { INTEGER, list, mapOf, OPAQUE, oneOf, record, type Schema, STRING, text } from './dsl.ts';

// Field names: Istio's networking.istio.io/v1. What holds between fields is in ../sources/check-service-entry.ts.

const MAX_HOSTS = 256;
const NAME = { type: 'string', minLength: 1, maxLength: 253 };

const ENDPOINT = record({
  address: STRING,
  ports: mapOf(PORT),
  labels: mapOf(text('label-value'), 'qualified-name'),
  network: STRING,
  locality: STRING,
  weight: INTEGER,
  serviceAccount: STRING,
});

export const SERVICE_ENTRY: Schema = topLevel(
  metadata('subdomain', true),
  {
    spec: record(
      {
        hosts: { ...list(NAME, 1), maxItems: MAX_HOSTS },
        addresses: list(text('ip-block')),
        ports: list(
          record({ number: PORT, name: NAME, protocol: STRING, targetPort: PORT }, ['number', 'name']),
        ),
        location: oneOf('MESH_EXTERNAL', 'MESH_INTERNAL'),
        resolution: oneOf(...RESOLUTIONS),
        endpoints: list(ENDPOINT),
        workloadSelector: record({ labels: mapOf(text('label-value'), 'qualified-name') }),
        exportTo: list(STRING),
        subjectAltNames: list(STRING),
      },
      ['hosts', 'ports'],
    ),
    status: OPAQUE,
  },
  ['spec'],
);
