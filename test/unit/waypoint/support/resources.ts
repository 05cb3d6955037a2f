import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  AuthorizationPolicySchema,
  RequestAuthenticationSchema,
  ResourceSchema,
  RouteSchema,
  ServiceSchema,
  SettingsSchema,
  TrafficPolicySchema,
  type Resource,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { NamedResource, ResourceDelta } from '../../../../lib/mesh/waypoint/config-store.ts';

/** Key of the Service NAME of namespace shop. */
export function key(name: string): string {
  return `shop/${name}.shop.svc.cluster.local`;
}

/** A Service of namespace shop, behind this waypoint and with port 80, unless told otherwise. */
export function service(name: string, init: MessageInitShape<typeof ServiceSchema> = {}): NamedResource {
  const value = create(ServiceSchema, {
    key: key(name),
    name,
    namespace: 'shop',
    served: true,
    ports: [{ port: 80 }],
    ...init,
  });
  return named(`service/${value.key}`, { case: 'service', value });
}

/** An HTTPRoute of namespace shop at the Services of these names. */
export function route(
  name: string,
  services: readonly string[],
  init: MessageInitShape<typeof RouteSchema> = {},
): NamedResource {
  const value = create(RouteSchema, {
    kind: 'HTTPRoute',
    namespace: 'shop',
    name,
    parents: services.map((service) => ({ service: key(service) })),
    ...init,
  });
  return named(`route/HTTPRoute/shop/${name}`, { case: 'route', value });
}

export function trafficPolicy(
  name: string,
  init: MessageInitShape<typeof TrafficPolicySchema> = {},
): NamedResource {
  const value = create(TrafficPolicySchema, { namespace: 'shop', name, ...init });
  return named(`traffic/shop/${name}`, { case: 'trafficPolicy', value });
}

export function authorization(
  name: string,
  init: MessageInitShape<typeof AuthorizationPolicySchema> = {},
): NamedResource {
  const value = create(AuthorizationPolicySchema, { namespace: 'shop', name, ...init });
  return named(`authorization/shop/${name}`, { case: 'authorization', value });
}

export function authentication(
  name: string,
  init: MessageInitShape<typeof RequestAuthenticationSchema> = {},
): NamedResource {
  const value = create(RequestAuthenticationSchema, { namespace: 'shop', name, ...init });
  return named(`authentication/shop/${name}`, { case: 'authentication', value });
}

export function settings(init: MessageInitShape<typeof SettingsSchema> = {}): NamedResource {
  return named('settings', { case: 'settings', value: create(SettingsSchema, init) });
}

export function upsert(...upserts: NamedResource[]): ResourceDelta {
  return { upserts, removed: [] };
}

export function remove(...resources: NamedResource[]): ResourceDelta {
  return { upserts: [], removed: resources.map(({ name }) => name) };
}

function named(name: string, kind: Resource['kind']): NamedResource {
  return { name, resource: create(ResourceSchema, { kind }) };
}
