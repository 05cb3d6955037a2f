/** Which of the node proxies that are connected at once accepts connections: the youngest that is ready. */

/** What is known of one proxy. */
export interface ProxyState {
  /** Only such a one waits to be told (ZdsHello.loam_takeover); another accepts from its snapshot on. */
  readonly takeover: boolean;
  /** It has the whole snapshot. */
  readonly live: boolean;
  /** It said that it could take over. */
  readonly ready: boolean;
  /** It accepts connections. */
  readonly serving: boolean;
  /** It was told to end. */
  readonly leaving: boolean;
}

/** `stay`: as it is, whatever that is. */
export type Role = 'serve' | 'yield' | 'stay';

/**
 * Decides anew from what is true now. One that is ready takes over from older ones, which are told to yield only when
 * it accepts; so nobody is without a proxy, and a young one that never becomes ready changes nothing. With nobody
 * ready, the youngest serves all the same: what it cannot carry it refuses with the reason, where nobody would tell any.
 *
 * @param proxies the oldest first
 * @returns a role for each, in the same order
 */
export function rolesOf(proxies: readonly ProxyState[]): Role[] {
  const able = ({ live, leaving }: ProxyState): boolean => live && !leaving;
  const settled = proxies.findLastIndex(
    (proxy) => able(proxy) && (proxy.ready || proxy.serving || !proxy.takeover),
  );
  const chosen = settled >= 0 ? settled : proxies.findLastIndex(able);
  return proxies.map(({ serving }, i) => {
    if (i === chosen) return 'serve';
    return proxies[chosen]?.serving === true && serving ? 'yield' : 'stay';
  });
}
