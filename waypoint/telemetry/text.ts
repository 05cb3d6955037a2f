const UNPRINTABLE = /[^\x20-\x7e]/g;

/**
 * Text of a peer as it may stand in a log or a span: printable ASCII, what else there is as `\xNN` or `\uNNNN`, and not
 * longer than asked; a cut is marked by `...`. Control and direction characters would let a client forge what an
 * operator sees on a terminal.
 *
 * @param limit characters of the result
 */
export function printable(text: string, limit: number): string {
  // Cut first: the length of what a client sent must not decide the work.
  const head = text.length > limit ? text.slice(0, limit) : text;
  const escaped = head.replace(UNPRINTABLE, escape);
  if (escaped.length <= limit && text.length <= limit) return escaped;
  return `${escaped.slice(0, Math.max(0, limit - 3))}...`;
}

function escape(char: string): string {
  const code = char.charCodeAt(0);
  return code < 0x100
    ? `\\x${code.toString(16).padStart(2, '0')}`
    : `\\u${code.toString(16).padStart(4, '0')}`;
}

/** Methods of RFC 9110, RFC 5789 and the QUERY draft; what else a client writes is one kind. */
const METHODS: ReadonlySet<string> = new Set([
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'QUERY',
  'TRACE',
]);

/** The method where it is a known one, else `_OTHER` (OpenTelemetry's HTTP conventions), so that clients make no names. */
export function knownMethod(method: string): string {
  return METHODS.has(method) ? method : '_OTHER';
}
