import type {
  Backend,
  Filter,
  HeaderModifier,
} from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { assertNever } from '../../../../assert-never.ts';
import type { Headers, RequestHead } from '../../request.ts';
import { applyCors, checkCors, isPreflight, preflightResponse, type CorsResult } from './cors.ts';
import { modifyHeaders } from './header-modifier.ts';
import { drawMirror } from './mirror.ts';
import { redirectLocation } from './redirect.ts';
import { modifyPath } from './rewrite-path.ts';

/** A response that the waypoint gives itself; it has no body. */
export interface LocalResponse {
  readonly status: number;
  readonly headers: Headers;
}

/** What filters want of the response, however it comes about. */
export interface ResponseChanges {
  readonly modifiers: readonly HeaderModifier[];
  readonly cors: CorsResult | undefined;
}

export type FilterOutcome =
  | { readonly kind: 'respond'; readonly response: LocalResponse }
  | {
      readonly kind: 'continue';
      readonly response: ResponseChanges;
      /** Backends that get a copy of this request as it is now. */
      readonly mirrors: readonly Backend[];
    };

export interface FilterContext {
  /** See RouteResult: what the match asked the path to begin with. */
  readonly prefix: string | undefined;
  /** Scheme of the request as the client sees it; `http` within the mesh. */
  readonly scheme: 'http' | 'https';
}

/**
 * Applies the filters of a rule, or of the chosen backend, to a request. Changes `head` in place: a caller that may try
 * another backend keeps a {@link copyHead} from before the backend's filters.
 *
 * Preflights are answered first, then redirects, whatever stands before them in the list: the standard leaves the order
 * open, and neither needs what the others do. The rest applies in the order of the list.
 */
export function applyRequestFilters(
  head: RequestHead,
  filters: readonly Filter[],
  context: FilterContext,
): FilterOutcome {
  const changes = responseChanges(head, filters);
  if (changes.cors !== undefined && isPreflight(head)) {
    return { kind: 'respond', response: preflightResponse(changes.cors, head) };
  }
  for (const { kind } of filters) {
    if (kind.case !== 'redirect') continue;
    const headers = Object.assign(Object.create(null) as Headers, {
      'content-length': '0',
      location: redirectLocation(kind.value, head, context.prefix, context.scheme),
    });
    applyResponseChanges(headers, changes);
    return { kind: 'respond', response: { status: kind.value.status, headers } };
  }
  const mirrors: Backend[] = [];
  for (const [index, { kind }] of filters.entries()) {
    switch (kind.case) {
      case 'requestHeaders':
        modifyHeaders(head.headers, kind.value);
        break;
      case 'rewrite': {
        if (kind.value.hostname !== '') head.authority = kind.value.hostname.toLowerCase();
        const { path, query } = modifyPath(kind.value.path, head.path, context.prefix);
        head.path = path;
        if (query !== undefined) head.query = query;
        break;
      }
      case 'mirror':
        if (kind.value.backend !== undefined && drawMirror(kind.value, index))
          mirrors.push(kind.value.backend);
        break;
      case 'responseHeaders':
      case 'cors':
      case 'redirect':
      case undefined:
        break;
      default:
        assertNever(kind, 'filter');
    }
  }
  return { kind: 'continue', response: changes, mirrors };
}

function responseChanges(head: RequestHead, filters: readonly Filter[]): ResponseChanges {
  const modifiers: HeaderModifier[] = [];
  let cors: CorsResult | undefined;
  for (const { kind } of filters) {
    if (kind.case === 'responseHeaders') modifiers.push(kind.value);
    if (kind.case === 'cors') cors ??= checkCors(kind.value, head);
  }
  return { modifiers, cors };
}

/**
 * Applies to a response, in place, what filters want of it. To be called for the backend's filters first, then for the
 * rule's, and for responses of the waypoint itself on this route too: a script could not read the error otherwise.
 */
export function applyResponseChanges(headers: Headers, { modifiers, cors }: ResponseChanges): void {
  for (const modifier of modifiers) modifyHeaders(headers, modifier);
  if (cors !== undefined) applyCors(cors, headers);
}

/** A head that can be changed without changing the first. */
export function copyHead(head: RequestHead): RequestHead {
  return { ...head, headers: Object.assign(Object.create(null) as Headers, head.headers) };
}
