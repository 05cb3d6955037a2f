/** A test of one text. */
export type TextTest = (text: string) => boolean;

/**
 * Istio's value grammar: `*` for any text that is not empty, `prefix*`, `*suffix`, or exact. Several values are OR-ed;
 * exact ones, of which a policy may have thousands, are looked up and not scanned.
 *
 * @param fold whether case is ignored
 */
export function anyText(patterns: readonly string[], fold = false): TextTest {
  const exact = new Set<string>();
  const tests: TextTest[] = [];
  for (const pattern of patterns) {
    const text = fold ? pattern.toLowerCase() : pattern;
    const test = wildcardTest(text);
    if (test === undefined) exact.add(text);
    else tests.push(test);
  }
  return (value) => {
    const text = fold ? value.toLowerCase() : value;
    return exact.has(text) || tests.some((test) => test(text));
  };
}

/** Undefined for a pattern without a wildcard. */
function wildcardTest(pattern: string): TextTest | undefined {
  if (pattern === '*') return (text) => text !== '';
  if (pattern.startsWith('*')) {
    const suffix = pattern.slice(1);
    return (text) => text.endsWith(suffix);
  }
  if (pattern.endsWith('*')) {
    const prefix = pattern.slice(0, -1);
    return (text) => text.startsWith(prefix);
  }
  return undefined;
}

/**
 * Hosts, by Istio's grammar and without regard to case. A value is compared with the authority as it came and with its
 * host alone, so that a DENY for `shop.example` is not passed by writing `shop.example:80` or `shop.example.`
 * (docs/decisions/0077). A value that has a port matches that port only.
 */
export function anyHost(patterns: readonly string[]): TextTest {
  const test = anyText(patterns, true);
  return (authority) => test(authority) || test(hostOf(authority));
}

/** The host of an authority: without port, and without the dot that makes a DNS name absolute. */
function hostOf(authority: string): string {
  // The brackets of an IPv6 literal have colons of their own (RFC 3986 section 3.2.2).
  const colon = authority.indexOf(':', Math.max(0, authority.indexOf(']')));
  const host = colon < 0 ? authority : authority.slice(0, colon);
  return host.endsWith('.') ? host.slice(0, -1) : host;
}
