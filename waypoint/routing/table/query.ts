/**
 * First values of some parameters of a query, decoded as a form (a plus is a space; what is no escape stays as it is).
 * Decodes only what is asked for, and stops when it has all: a query of thousands of parameters costs a walk over it.
 */
export function firstValues(query: string, wanted: ReadonlySet<string>): Map<string, string> {
  const values = new Map<string, string>();
  let start = 0;
  while (start < query.length && values.size < wanted.size) {
    const ampersand = query.indexOf('&', start);
    const end = ampersand === -1 ? query.length : ampersand;
    const pair = query.slice(start, end);
    start = end + 1;
    // A form has no parameter without name and value.
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = decode(equals === -1 ? pair : pair.slice(0, equals));
    if (wanted.has(name) && !values.has(name)) {
      values.set(name, equals === -1 ? '' : decode(pair.slice(equals + 1)));
    }
  }
  return values;
}

/** One part, without `&`. Few are escaped, so that the standard's own decoder is asked only for those. */
function decode(part: string): string {
  if (!part.includes('%') && !part.includes('+')) return part;
  return new URLSearchParams(`=${part}`).get('') ?? part;
}
