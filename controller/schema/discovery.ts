import { metadata, PORT, topLevel } from './core.ts';
import { BOOLEAN, fields, list, OPAQUE, oneOf, record, type Schema, STRING, text } from './dsl.ts';

export const NODE: Schema = topLevel(metadata('subdomain', false), { spec: OPAQUE, status: OPAQUE });

const ENDPOINT = record(
  {
    addresses: list(STRING, 1),
    conditions: record(fields(BOOLEAN, 'ready serving terminating')),
    hostname: text('dns-label'),
    targetRef: record(fields(STRING, 'kind namespace name uid apiVersion resourceVersion fieldPath')),
    nodeName: text('subdomain'),
    zone: STRING,
    hints: OPAQUE,
    deprecatedTopology: OPAQUE,
  },
  ['addresses'],
);

export const ENDPOINT_SLICE: Schema = topLevel(
  metadata('subdomain', true),
  {
    addressType: oneOf('IPv4', 'IPv6', 'FQDN'),
    endpoints: list(ENDPOINT),
    ports: list(
      record({
        // As in the Service: a name, or nothing where it has one port.
        name: STRING,
        protocol: oneOf('TCP', 'UDP', 'SCTP'),
        appProtocol: text('qualified-name'),
        port: PORT,
      }),
    ),
  },
  ['addressType'],
);
