const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

const SHOP = 'shop';

/** `0 B`, `3.4 kB`, `120 MB` */
export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 10 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit] ?? 'B'}`;
}

/** `0.8 ms`, `12 ms`, `1.5 s` */
export function durationText(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** `90.0 %` @param share 0 to 1 */
export function percentText(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** `01:23` */
export function clockText(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (n: number): string => String(n).padStart(2, '0');
  return `${two(Math.floor(seconds / 60))}:${two(seconds % 60)}`;
}

/** The last part of an identity's path that a person reads: `shop/payments`. */
export function shortIdentity(uri: string): string {
  const match = /\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(uri);
  return match ? `${match[1] ?? ''}/${match[2] ?? ''}` : uri;
}

/** `payments` of `payments.shop.svc.cluster.local`; other namespaces than the shop's are named. */
export function serviceName(host: string | undefined): string | undefined {
  if (host === undefined) return undefined;
  const [name = host, namespace = SHOP] = host.split('.');
  return namespace === SHOP ? name : `${namespace}/${name}`;
}

/** `frontend` of the shop's namespace, `kiosk/frontend` of another one. */
export function nameFromShop({ namespace, name }: { namespace: string; name: string }): string {
  return namespace === SHOP ? name : `${namespace}/${name}`;
}
