import { validateHeaderName, validateHeaderValue } from 'node:http';
import type { Filter, HeaderModifier } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Refuse } from '../route-error.ts';
import { isOriginPattern } from './cors-origin.ts';

const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308]);
const HOSTNAME = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i;

/**
 * Checks what could break a message: what is left here can be applied to any request.
 *
 * @param field path of the list in the rule, for errors.
 * @param prefixOnly whether all matches of the rule are by prefix, so that the prefix can be replaced.
 */
export function checkFilters(
  filters: readonly Filter[],
  field: string,
  prefixOnly: boolean,
  refuse: Refuse,
): void {
  for (const [index, { kind }] of filters.entries()) {
    const at = `${field}[${index}]`;
    switch (kind.case) {
      case 'requestHeaders':
      case 'responseHeaders':
        checkHeaders(kind.value, `${at}.${kind.case}`, refuse);
        break;
      case 'redirect': {
        const { scheme, hostname, status, path } = kind.value;
        if (!['', 'http', 'https'].includes(scheme)) refuse(`${at}.redirect.scheme`, scheme, 'http or https');
        checkHostname(hostname, `${at}.redirect.hostname`, refuse);
        if (!REDIRECT_STATUSES.has(status)) {
          refuse(`${at}.redirect.status`, String(status), [...REDIRECT_STATUSES].join(', '));
        }
        checkPath(path?.how, `${at}.redirect.path`, prefixOnly, refuse);
        break;
      }
      case 'rewrite':
        checkHostname(kind.value.hostname, `${at}.rewrite.hostname`, refuse);
        checkPath(kind.value.path?.how, `${at}.rewrite.path`, prefixOnly, refuse);
        break;
      case 'mirror':
        if (kind.value.denominator === 0) refuse(`${at}.mirror.denominator`, '0', 'a number above 0');
        break;
      case 'cors':
        for (const [i, origin] of kind.value.allowOrigins.entries()) {
          if (isOriginPattern(origin)) continue;
          refuse(
            `${at}.cors.allowOrigins[${i}]`,
            origin,
            '"*", or scheme://host[:port] with at most one * in the host',
          );
        }
        for (const list of ['allowMethods', 'allowHeaders', 'exposeHeaders'] as const) {
          for (const [i, name] of kind.value[list].entries())
            checkName(name, `${at}.cors.${list}[${i}]`, refuse);
        }
        break;
      case undefined:
        // A kind that this waypoint does not know must not be passed over: it may be what keeps a request out.
        refuse(at, '', 'a filter of this version');
    }
  }
}

function checkHeaders({ set, add, remove }: HeaderModifier, field: string, refuse: Refuse): void {
  for (const [list, headers] of Object.entries({ set, add })) {
    for (const [i, { name, value }] of headers.entries()) {
      checkName(name, `${field}.${list}[${i}].name`, refuse);
      try {
        validateHeaderValue(name, value);
      } catch (error) {
        refuse(`${field}.${list}[${i}].value`, value, 'a header value (RFC 9110)', error);
      }
    }
  }
  for (const [i, name] of remove.entries()) checkName(name, `${field}.remove[${i}]`, refuse);
}

function checkName(name: string, field: string, refuse: Refuse): void {
  try {
    validateHeaderName(name);
  } catch (error) {
    refuse(field, name, 'a token (RFC 9110)', error);
  }
}

function checkHostname(hostname: string, field: string, refuse: Refuse): void {
  if (hostname !== '' && !HOSTNAME.test(hostname)) refuse(field, hostname, 'a DNS name');
}

function checkPath(
  how: { case: 'replaceFullPath' | 'replacePrefixMatch'; value: string } | { case: undefined } | undefined,
  field: string,
  prefixOnly: boolean,
  refuse: Refuse,
): void {
  if (how?.case === undefined) return;
  if (!/^[\x21-\x7e]*$/.test(how.value) || how.value.includes('#')) {
    refuse(`${field}.${how.case}`, how.value, 'a path of printable ASCII without "#"');
  }
  if (how.case === 'replacePrefixMatch' && !prefixOnly) {
    refuse(
      `${field}.${how.case}`,
      how.value,
      'replaceFullPath, unless all matches of the rule are by prefix',
    );
  }
}
