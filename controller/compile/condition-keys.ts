/** Attributes of `when` that L4 sees, with the format of their values (Istio: authorization conditions). */
export const L4_KEYS: ReadonlyMap<string, string> = new Map([
  ['source.ip', 'ip-block'],
  ['source.namespace', 'wildcard'],
  ['source.principal', 'principal'],
  ['source.serviceAccount', 'service-account'],
  ['destination.ip', 'ip-block'],
  ['destination.port', 'port-number'],
]);

/** Attributes that only an L7 proxy sees. Those ending in `[` take a name in brackets. */
export const L7_KEYS = [
  'request.headers[',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'request.auth.claims[',
  'remote.ip',
  'connection.sni',
  'experimental.envoy.filters.',
] as const;

/** True for an attribute that Istio knows and that L4 cannot see. */
export function isL7Key(key: string): boolean {
  return L7_KEYS.some((known) => {
    if (known.endsWith('['))
      return key.startsWith(known) && key.endsWith(']') && key.length > known.length + 1;
    return known.endsWith('.') ? key.startsWith(known) : key === known;
  });
}
