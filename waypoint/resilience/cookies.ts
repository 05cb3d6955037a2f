/** More cookies of one name than anybody sends in earnest. */
const MOST_VALUES = 4;

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Whether it can be the name of a cookie or header. */
export function isToken(name: string): boolean {
  return TOKEN.test(name);
}

/**
 * The values of a cookie in a Cookie header (RFC 6265 section 5.4), in their order: a parent domain's cookie of the same name
 * may come along. At most four; quotes around a value are removed. Reads any text without failing.
 */
export function cookieValues(header: string | undefined, name: string): string[] {
  const values: string[] = [];
  if (header === undefined) return values;
  // HTTP/2 may split the header; Node joins the lines with "; " there.
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=');
    if (equals < 0 || pair.slice(0, equals).trim() !== name) continue;
    const value = pair.slice(equals + 1).trim();
    const quoted = value.length >= 2 && value.startsWith('"') && value.endsWith('"');
    values.push(quoted ? value.slice(1, -1) : value);
    if (values.length === MOST_VALUES) break;
  }
  return values;
}
