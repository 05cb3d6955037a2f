import type { Redirect } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { RequestHead } from '../../request.ts';
import { withoutPort } from '../table/host-index.ts';
import { modifyPath } from './rewrite-path.ts';

const WELL_KNOWN: Readonly<Record<string, string>> = { http: '80', https: '443' };

/**
 * The Location of a redirect (Gateway API, HTTPRequestRedirectFilter): what the filter does not set stays as it came, the
 * query too. A scheme without a port means the scheme's own port; a port that is the scheme's own is not written.
 *
 * @param scheme of the request as the client sees it, `http` or `https`.
 */
export function redirectLocation(
  redirect: Redirect,
  head: RequestHead,
  prefix: string | undefined,
  scheme: string,
): string {
  const target = redirect.scheme === '' ? scheme : redirect.scheme;
  const host = redirect.hostname === '' ? withoutPort(head.authority) : redirect.hostname;
  const came = head.authority.slice(withoutPort(head.authority).length + 1);
  const port = redirect.port !== 0 ? String(redirect.port) : redirect.scheme !== '' ? '' : came;
  const shown = port === '' || port === WELL_KNOWN[target] ? '' : `:${port}`;
  const { path, query } = modifyPath(redirect.path, head.path, prefix);
  const kept = query ?? head.query;
  // An HTTP/1.0 request may name no host: a Location may be relative (RFC 9110 section 10.2.2).
  if (host === '') return `${path}${kept === '' ? '' : `?${kept}`}`;
  // OPTIONS of the server as a whole has no path.
  return `${target}://${host}${shown}${path === '*' ? '' : path}${kept === '' ? '' : `?${kept}`}`;
}
