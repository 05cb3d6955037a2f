import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Filter, FilterSchema } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type {
  CorsFilter,
  GrpcFilter,
  HeaderFilter,
  HttpFilter,
  ObjectReference,
  PathModifier,
  RequestMirror,
  RequestRedirect,
  UrlRewrite,
} from '../../model/gateway-api.ts';
import type { ResolvedBackend } from './backends.ts';
import { waypointServiceKey } from './services.ts';

type Kind = NonNullable<MessageInitShape<typeof FilterSchema>['kind']>;

/** Gateway API: what a redirect answers unless told otherwise. */
const DEFAULT_REDIRECT = 302;
const PERCENT = 100;
/** Gateway API, HTTPCORSFilter.maxAge: seconds. */
const DEFAULT_MAX_AGE_S = 5;

/** Follows the reference of a mirror, and takes note of it. */
export type Resolve = (reference: ObjectReference) => ResolvedBackend;

/** The filters of a rule or of a backend. A mirror that leads nowhere is left out: no request depends on it. */
export function compileFilters(filters: readonly (HttpFilter | GrpcFilter)[], resolve: Resolve): Filter[] {
  return filters.flatMap((filter) => {
    const kind = compileFilter(filter, resolve);
    return kind === undefined ? [] : [create(FilterSchema, { kind })];
  });
}

function compileFilter(filter: HttpFilter | GrpcFilter, resolve: Resolve): Kind | undefined {
  switch (filter.type) {
    case 'RequestHeaderModifier':
      return { case: 'requestHeaders', value: headers(filter.requestHeaderModifier) };
    case 'ResponseHeaderModifier':
      return { case: 'responseHeaders', value: headers(filter.responseHeaderModifier) };
    case 'RequestMirror':
      return mirror(filter.requestMirror, resolve);
    case 'RequestRedirect':
      return redirect(filter.requestRedirect);
    case 'URLRewrite':
      return rewrite(filter.urlRewrite);
    case 'CORS':
      return cors(filter.cors);
  }
}

function headers({ set = [], add = [], remove = [] }: HeaderFilter): {
  set: { name: string; value: string }[];
  add: { name: string; value: string }[];
  remove: string[];
} {
  const lower = (list: typeof set): { name: string; value: string }[] =>
    list.map(({ name, value }) => ({ name: name.toLowerCase(), value }));
  return { set: lower(set), add: lower(add), remove: remove.map((name) => name.toLowerCase()) };
}

function path(modifier: PathModifier | undefined): { path?: { how: PathHow } } {
  if (modifier === undefined) return {};
  const how: PathHow =
    modifier.type === 'ReplaceFullPath'
      ? { case: 'replaceFullPath', value: modifier.replaceFullPath }
      : { case: 'replacePrefixMatch', value: modifier.replacePrefixMatch };
  return { path: { how } };
}
type PathHow = { case: 'replaceFullPath'; value: string } | { case: 'replacePrefixMatch'; value: string };

function redirect(spec: RequestRedirect): Kind {
  const value = {
    scheme: spec.scheme ?? '',
    hostname: spec.hostname ?? '',
    port: spec.port ?? 0,
    ...path(spec.path),
    status: spec.statusCode ?? DEFAULT_REDIRECT,
  };
  return { case: 'redirect', value };
}

function rewrite(spec: UrlRewrite): Kind {
  return { case: 'rewrite', value: { hostname: spec.hostname ?? '', ...path(spec.path) } };
}

function mirror({ backendRef, percent, fraction }: RequestMirror, resolve: Resolve): Kind | undefined {
  const backend = resolve(backendRef);
  if (backend.state === 'invalid') return undefined;
  return {
    case: 'mirror',
    value: {
      backend: { service: waypointServiceKey(backend.service), port: backend.port, weight: 1 },
      numerator: fraction?.numerator ?? percent ?? PERCENT,
      denominator: fraction?.denominator ?? PERCENT,
    },
  };
}

function cors(spec: CorsFilter): Kind {
  return {
    case: 'cors',
    value: {
      allowOrigins: [...(spec.allowOrigins ?? [])],
      allowCredentials: spec.allowCredentials ?? false,
      allowMethods: [...(spec.allowMethods ?? [])],
      allowHeaders: [...(spec.allowHeaders ?? [])],
      exposeHeaders: [...(spec.exposeHeaders ?? [])],
      maxAge: spec.maxAge ?? DEFAULT_MAX_AGE_S,
    },
  };
}
