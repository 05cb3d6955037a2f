/** Attributes of `when` that L4 sees, with the format of their values (Istio: authorization conditions). */
export const L4_KEYS: ReadonlyMap<string, string> = new Map([
  ['source.ip', 'ip-block'],
  ['source.namespace', 'wildcard'],
  ['source.principal', 'principal'],
  ['source.serviceAccount', 'service-account'],
  ['destination.ip', 'ip-block'],
  ['destination.port', 'port-number'],
]);

/**
 * Attributes that only a waypoint sees. Those ending in `[` take a name in brackets, claims one for each level. Istio's
 * `experimental.envoy.filters.*` is not among them: there is no Envoy.
 */
export const L7_KEYS = [
  'request.headers[',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'request.auth.claims[',
  'remote.ip',
  'connection.sni',
] as const;

const HEADER = /^request\.headers\[(:authority|:method|:path|[A-Za-z0-9!#$%&'*+.^_`|~-]+)\]$/;
const CLAIM = /^request\.auth\.claims(\[[^[\]]+\])+$/;

/** True for an attribute that Istio knows and that L4 cannot see. */
export function isL7Key(key: string): boolean {
  return (
    HEADER.test(key) || CLAIM.test(key) || L7_KEYS.some((known) => !known.endsWith('[') && key === known)
  );
}

/** The format of an attribute's values; undefined where every text is one. */
export function conditionFormat(key: string): string | undefined {
  return key === 'remote.ip' ? 'ip-block' : L4_KEYS.get(key);
}
