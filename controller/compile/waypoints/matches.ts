import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { RE2JS } from 're2js';
import { type RouteMatch, RouteMatchSchema } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type {
  GrpcMatch,
  GrpcMethodMatch,
  HttpMatch,
  HttpPathMatch,
  NamedMatch,
} from '../../model/gateway-api.ts';

type Init = MessageInitShape<typeof RouteMatchSchema>;

/** A match of an HTTPRoute; the standard's default is the path prefix `/`, that is everything. */
export function compileHttpMatch({ path, headers = [], queryParams = [], method }: HttpMatch): RouteMatch {
  return create(RouteMatchSchema, {
    ...pathMatch(path),
    headers: headers.map((header) => valueMatch(header, header.name.toLowerCase())),
    query: queryParams.map((param) => valueMatch(param, param.name)),
    method: method ?? '',
  });
}

function pathMatch(path: HttpPathMatch | undefined): Pick<Init, 'path'> {
  if (path === undefined) return {};
  const { type = 'PathPrefix', value = '/' } = path;
  switch (type) {
    case 'Exact':
      return { path: { how: { case: 'exact', value } } };
    case 'PathPrefix':
      return { path: { how: { case: 'prefix', value } } };
    case 'RegularExpression':
      return { path: { how: { case: 'regex', value } } };
  }
}

function valueMatch(
  { type = 'Exact', value }: NamedMatch,
  name: string,
): NonNullable<Init['headers']>[number] {
  return { name, how: { case: type === 'Exact' ? 'exact' : 'regex', value } };
}

/** A match of a GRPCRoute, with service and method turned into the path `/<service>/<method>` (gRPC over HTTP/2). */
export function compileGrpcMatch({ method, headers = [] }: GrpcMatch): RouteMatch {
  return create(RouteMatchSchema, {
    ...grpcPath(method),
    headers: headers.map((header) => valueMatch(header, header.name.toLowerCase())),
  });
}

/** One element of a path. */
const ANY = '[^/]+';

function grpcPath(match: GrpcMethodMatch | undefined): Pick<Init, 'path'> {
  if (match === undefined) return {};
  const { type = 'Exact', method = '' } = match;
  const service = match.service ?? '';
  if (type === 'RegularExpression') {
    const part = (regex: string): string => (regex === '' ? ANY : `(?:${regex})`);
    return { path: { how: { case: 'regex', value: `/${part(service)}/${part(method)}` } } };
  }
  // A fully qualified protobuf name may begin with a dot, which the path does not have.
  const name = service.replace(/^\./, '');
  if (name !== '' && method !== '') return { path: { how: { case: 'exact', value: `/${name}/${method}` } } };
  if (name !== '') return { path: { how: { case: 'prefix', value: `/${name}` } } };
  return { path: { how: { case: 'regex', value: `/${ANY}/${RE2JS.quote(method)}` } } };
}
