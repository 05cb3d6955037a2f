import { metadata, PORT, topLevel } from './core.ts';
import { fields, list, OPAQUE, oneOf, record, type Schema, STRING, text } from './dsl.ts';

// Field names: Gateway API 1.4 (gateway.networking.k8s.io). Gateways of other controllers are read too, so that all fields
// are known; ../sources/check-gateway.ts refuses at a waypoint those that have no meaning there.

const LISTENER = record(
  {
    name: text('subdomain'),
    port: PORT,
    protocol: STRING,
    hostname: STRING,
    tls: OPAQUE,
    allowedRoutes: record({
      namespaces: record({ from: oneOf('All', 'Same', 'Selector', 'None'), selector: OPAQUE }),
      kinds: list(record({ group: STRING, kind: STRING }, ['kind'])),
    }),
  },
  ['name', 'port', 'protocol'],
);

export const GATEWAY: Schema = topLevel(
  metadata('subdomain', true),
  {
    spec: record(
      {
        gatewayClassName: text('subdomain'),
        listeners: list(LISTENER, 1),
        addresses: list(OPAQUE),
        ...fields(OPAQUE, 'infrastructure backendTLS tls allowedListeners'),
        defaultScope: STRING,
      },
      ['gatewayClassName', 'listeners'],
    ),
    status: OPAQUE,
  },
  ['spec'],
);

export const GATEWAY_CLASS: Schema = topLevel(
  metadata('subdomain', false),
  {
    spec: record({ controllerName: STRING, description: STRING, parametersRef: OPAQUE }, ['controllerName']),
    status: OPAQUE,
  },
  ['spec'],
);

export const REFERENCE_GRANT: Schema = topLevel(
  metadata('subdomain', true),
  {
    spec: record(
      {
        from: {
          ...list(
            record({ group: STRING, kind: STRING, namespace: text('dns-label') }, [
              'group',
              'kind',
              'namespace',
            ]),
            1,
          ),
          maxItems: 16,
        },
        to: {
          ...list(record({ group: STRING, kind: STRING, name: text('subdomain') }, ['group', 'kind']), 1),
          maxItems: 16,
        },
      },
      ['from', 'to'],
    ),
  },
  ['spec'],
);
