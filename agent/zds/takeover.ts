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
  /** Pods that it was given, by uid: whether it serves them. */
  readonly pods: ReadonlyMap<string, boolean>;
}

/** `stay`: as it is, whatever that is. */
export type Role = 'serve' | 'yield' | 'stay';

/**
 * Decides anew from what is true now. One that is ready takes over from older ones, which are told to yield only when
 * it accepts; so nobody is without a proxy, and a young one that never becomes ready changes nothing. With nobody
 * ready, the youngest serves all the same: what it cannot carry it refuses with the reason, where nobody would tell any.
 * One that is ready but cannot serve a pod that another one does serve waits: an upgrade stops there rather than take the pod along.
 *
 * @param proxies the oldest first
 * @returns a role for each, in the same order
 */
export function rolesOf(proxies: readonly ProxyState[]): Role[] {
  const able = ({ live, leaving }: ProxyState): boolean => live && !leaving;
  const settled = proxies.findLastIndex(
    (proxy) =>
      able(proxy) && (proxy.serving || !proxy.takeover || (proxy.ready && !wouldLosePods(proxy, proxies))),
  );
  const chosen = settled >= 0 ? settled : proxies.findLastIndex(able);
  return proxies.map(({ serving }, i) => {
    if (i === chosen) return 'serve';
    return proxies[chosen]?.serving === true && serving ? 'yield' : 'stay';
  });
}

function wouldLosePods(young: ProxyState, proxies: readonly ProxyState[]): boolean {
  const lacking = [...young.pods].flatMap(([uid, served]) => (served ? [] : [uid]));
  return proxies.some(
    (other) => other.serving && !other.leaving && lacking.some((uid) => other.pods.get(uid) === true),
  );
}
