/**
 * The one form of a request's path, which policy and routes match and which the backend receives, so that no two of them
 * read it differently. The rules, and why, are in docs/path-normalisation.md.
 */

/** Why a target is refused with 400. */
export type TargetProblem =
  | 'empty'
  | 'not-a-path'
  | 'asterisk'
  | 'authority'
  | 'fragment'
  | 'character'
  | 'escape'
  | 'null'
  | 'backslash'
  | 'hidden-dot-segment';

export type NormalisedPath =
  { readonly ok: true; readonly path: string } | { readonly ok: false; readonly problem: TargetProblem };

export type NormalisedTarget =
  | {
      readonly ok: true;
      readonly path: string;
      /** Without `?`; escapes as they came. */
      readonly query: string;
      /** Of an absolute target, in lower case: it stands in place of the Host header (RFC 9112 section 3.2.2). */
      readonly authority: string | undefined;
    }
  | { readonly ok: false; readonly problem: TargetProblem };

const UNRESERVED = /[A-Za-z0-9\-._~]/;
/** What may stand raw in a path (RFC 3986, pchar and "/"); the rest of printable ASCII is written as an escape. */
const RAW = /[A-Za-z0-9\-._~!$&'()*+,;=:@/]/;
/** Most paths: nothing to do. No escape, no empty element, no element that begins with a dot. */
const PLAIN = /^(?:\/(?![./])[A-Za-z0-9\-._~!$&'()*+,;=:@]*)+$/;
/** An element, or a part of one between escaped slashes, that some servers read as a dot segment. */
const HIDDEN_DOTS = /(?:^|%2F|%5C)\.{1,2}(?=$|;|%2F|%5C)/;
const ABSOLUTE = /^https?:\/\//i;

/**
 * Normalises the path of a target, without query. Idempotent.
 *
 * @param path one character for each byte received, as Node gives it.
 */
export function normalisePath(path: string): NormalisedPath {
  if (PLAIN.test(path)) return { ok: true, path };
  if (path === '') return refuse('empty');
  if (!path.startsWith('/')) return refuse('not-a-path');
  const characters = normaliseCharacters(path);
  if (!characters.ok) return characters;
  const segments = removeDotSegments(characters.path.slice(1).split('/'));
  if (segments.some((segment) => HIDDEN_DOTS.test(segment))) return refuse('hidden-dot-segment');
  return { ok: true, path: mergeSlashes(segments) };
}

/**
 * Normalises the target of a request.
 *
 * @param absolute whether a target with scheme and host is allowed: HTTP/1.1, not the `:path` of HTTP/2.
 */
export function normaliseTarget(method: string, target: string, absolute: boolean): NormalisedTarget {
  if (target === '') return refuse('empty');
  if (target.includes('#')) return refuse('fragment');
  if (target === '*') {
    return method === 'OPTIONS'
      ? { ok: true, path: '*', query: '', authority: undefined }
      : refuse('asterisk');
  }
  const split =
    absolute && ABSOLUTE.test(target) ? splitAbsolute(target) : { rest: target, authority: undefined };
  const { rest, authority } = split;
  if (authority !== undefined && !isAuthority(authority)) return refuse('authority');
  const mark = rest.indexOf('?');
  const query = mark === -1 ? '' : encodeBytes(rest.slice(mark + 1));
  if (query === undefined) return refuse('character');
  const raw = mark === -1 ? rest : rest.slice(0, mark);
  if (authority !== undefined && raw === '') {
    // RFC 9112 section 3.2.4: an OPTIONS without a path asks the server as a whole.
    return { ok: true, path: method === 'OPTIONS' && mark === -1 ? '*' : '/', query, authority };
  }
  const normalised = normalisePath(raw);
  return normalised.ok ? { ok: true, path: normalised.path, query, authority } : normalised;
}

function splitAbsolute(target: string): { rest: string; authority: string } {
  const start = target.indexOf('://') + 3;
  const length = target.slice(start).search(/[/?]/);
  const end = length === -1 ? target.length : start + length;
  return { rest: target.slice(end), authority: target.slice(start, end).toLowerCase() };
}

/** Whether a text is host and, if given, port: no user, no escape, nothing that two parsers could read in two ways. */
export function isAuthority(text: string): boolean {
  const match = /^(?:[a-z0-9\-._~]{1,255}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?$/i.exec(text);
  return match !== null && (match[1] === undefined || Number(match[1]) <= 65535);
}

function normaliseCharacters(path: string): NormalisedPath {
  let result = '';
  for (let i = 0; i < path.length; i += 1) {
    const character = path.charAt(i);
    if (character === '%') {
      const hex = path.slice(i + 1, i + 3);
      if (!/^[0-9A-Fa-f]{2}$/.test(hex)) return refuse('escape');
      const code = parseInt(hex, 16);
      if (code === 0) return refuse('null');
      const decoded = String.fromCharCode(code);
      result += UNRESERVED.test(decoded) ? decoded : `%${hex.toUpperCase()}`;
      i += 2;
    } else if (RAW.test(character)) {
      result += character;
    } else if (character === '\\') {
      return refuse('backslash');
    } else {
      const encoded = character === '?' || character === '#' ? undefined : encodeByte(character);
      if (encoded === undefined) return refuse('character');
      result += encoded;
    }
  }
  return { ok: true, path: result };
}

/** RFC 3986 section 5.2.4, on elements: those above the root have nowhere to go and are dropped. */
function removeDotSegments(segments: readonly string[]): string[] {
  const kept: string[] = [];
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1;
    if (segment === '..') kept.pop();
    if (segment !== '.' && segment !== '..') kept.push(segment);
    else if (last) kept.push('');
  }
  return kept;
}

/** Drops empty elements, but for the last one, which is the slash at the end. */
function mergeSlashes(segments: readonly string[]): string {
  const kept = segments.filter((segment, index) => segment !== '' || index === segments.length - 1);
  return `/${kept.join('/')}`;
}

/** The query: only bytes that may not stand in a request line are written as escapes. */
function encodeBytes(query: string): string | undefined {
  if (/^[\x21-\x7e]*$/.test(query)) return query;
  let result = '';
  for (const character of query) {
    const code = character.charCodeAt(0);
    const encoded = code > 0x20 && code < 0x7f ? character : encodeByte(character);
    if (encoded === undefined) return undefined;
    result += encoded;
  }
  return result;
}

/** `undefined` for what no request line may hold: spaces, controls, and what is no byte. */
function encodeByte(character: string): string | undefined {
  const code = character.charCodeAt(0);
  if (code <= 0x20 || code === 0x7f || code > 0xff) return undefined;
  return `%${code.toString(16).toUpperCase().padStart(2, '0')}`;
}

function refuse(problem: TargetProblem): { ok: false; problem: TargetProblem } {
  return { ok: false, problem };
}
