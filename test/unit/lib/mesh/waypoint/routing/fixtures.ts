import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  FilterSchema,
  RouteSchema,
  type Filter,
  type Route,
  type RouteMatch,
  type RouteMatchSchema,
  type RouteRuleSchema,
} from '../../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Headers, RequestHead } from '../../../../../../lib/mesh/waypoint/request.ts';

export const SERVICE = 'shop/payments.shop.svc.cluster.local';

/** What `create` takes, without the finished message, so that it can be spread. */
type RouteInit = Exclude<MessageInitShape<typeof RouteSchema>, Route>;
export type MatchInit = Exclude<MessageInitShape<typeof RouteMatchSchema>, RouteMatch>;
export type RuleInit = MessageInitShape<typeof RouteRuleSchema>;

/** An HTTPRoute in `shop` that attaches to all ports of {@link SERVICE}, unless told otherwise. */
export function route(name: string, init: RouteInit = {}): Route {
  return create(RouteSchema, {
    kind: 'HTTPRoute',
    namespace: 'shop',
    name,
    parents: [{ service: SERVICE }],
    ...init,
  });
}

/** A route of one rule for each of the matches. */
export function routeOf(name: string, ...matches: MatchInit[]): Route {
  return route(name, { rules: matches.map((match) => ({ matches: [match] })) });
}

export function filter(kind: MessageInitShape<typeof FilterSchema>['kind']): Filter {
  return create(FilterSchema, kind === undefined ? {} : { kind });
}

export const exact = (value: string): MatchInit => ({ path: { how: { case: 'exact', value } } });
export const prefix = (value: string): MatchInit => ({ path: { how: { case: 'prefix', value } } });
export const regex = (value: string): MatchInit => ({ path: { how: { case: 'regex', value } } });
/** Wants a header or a query parameter to have this value. */
export const is = (name: string, value: string): NonNullable<MatchInit['headers']>[number] => ({
  name,
  how: { case: 'exact', value },
});
/** Wants a header or a query parameter to match. */
export const like = (name: string, value: string): NonNullable<MatchInit['headers']>[number] => ({
  name,
  how: { case: 'regex', value },
});

export function headers(values: Record<string, string | string[]> = {}): Headers {
  return Object.assign(Object.create(null) as Headers, values);
}

/** `GET http://payments/` to port 80 of {@link SERVICE}, unless told otherwise. */
export function head(
  path = '/',
  change: Partial<Omit<RequestHead, 'headers'>> & { headers?: Record<string, string> } = {},
): RequestHead {
  return {
    method: 'GET',
    authority: 'payments',
    path,
    query: '',
    protocol: 'http1',
    source: { ip: '10.0.0.9', port: 40000, identity: undefined, workload: undefined },
    service: SERVICE,
    port: 80,
    destinationIp: '10.96.0.7',
    remoteIp: '10.0.0.9',
    jwt: undefined,
    ...change,
    headers: headers(change.headers),
  };
}
