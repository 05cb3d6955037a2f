import type { HashKey } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { header, type RequestHead } from '../../lib/mesh/waypoint/request.ts';
import { cookieValues } from './cookies.ts';

/**
 * What of a request a consistent hash hashes; undefined when the request does not have it, and then it is balanced as if
 * there were no hash.
 */
export function hashKeyOf(
  config: HashKey | undefined,
  head: Pick<RequestHead, 'headers' | 'query' | 'source'>,
): string | undefined {
  const source = config?.source;
  switch (source?.case) {
    case 'header':
      return header(head.headers, source.value.toLowerCase());
    case 'cookie':
      return cookieValues(header(head.headers, 'cookie'), source.value)[0];
    case 'query':
      return new URLSearchParams(head.query).get(source.value) ?? undefined;
    case 'sourceIp':
      return source.value ? head.source.ip : undefined;
    case undefined:
      return undefined;
  }
}
