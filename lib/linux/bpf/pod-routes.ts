/**
 * The map of the pods' IPv6 routes, by which connect() is refused where it would be without a mesh. It only ever
 * refuses: what is not in it is captured.
 */
import { ENETUNREACH, ipv6Routes } from '../routes.ts';
import { ipFamily } from '../ip.ts';
import type { InstanceMaps } from './instance-maps.ts';
import { buffer, cookieOfRoute, ROUTE_BYTES, routeKey } from './layout.ts';
import type { BpfMap } from './map.ts';

const NO_PREFIX = Buffer.alloc(0);

export class PodRoutes {
  readonly #map: BpfMap;
  /** The keys of each pod, by their bytes; read from the kernel when a pod is first met. */
  readonly #known = new Map<bigint, Map<string, Buffer>>();

  constructor(maps: InstanceMaps) {
    this.#map = maps.map('routes');
  }

  /**
   * Brings the map to what the pod's namespace has now.
   *
   * @throws BpfError BPF_MAP when the map is full (nothing of the pod stays in it, so that all is captured), SystemCallError
   */
  follow(pod: { readonly netnsFd: number; readonly cookie: bigint; readonly ips: readonly string[] }): void {
    const routes = pod.ips.some((ip) => ipFamily(ip) === 6) ? ipv6Routes(pod.netnsFd) : undefined;
    const wanted = new Map<string, { key: Buffer; errno: number }>();
    const want = (prefix: Uint8Array, bits: number, errno: number): void => {
      const key = routeKey(pod.cookie, prefix, bits);
      wanted.set(key.toString('latin1'), { key, errno });
    };
    // What leads somewhere first, so that nothing is refused in between.
    for (const { prefix, bits, errno } of routes ?? []) if (errno === 0) want(prefix, bits, errno);
    for (const { prefix, bits, errno } of routes ?? []) if (errno !== 0) want(prefix, bits, errno);
    const everywhere = routeKey(pod.cookie, NO_PREFIX, 0);
    if (routes !== undefined && !wanted.has(everywhere.toString('latin1'))) want(NO_PREFIX, 0, ENETUNREACH);
    const before = this.#of(pod.cookie);
    if (!wanted.has(everywhere.toString('latin1'))) this.#map.delete(everywhere);
    try {
      for (const [name, { key, errno }] of wanted) {
        const value = buffer(ROUTE_BYTES);
        value.writeUInt32LE(errno, 0);
        // A look-up gives what a shorter prefix says too.
        const stands = before.has(name) && this.#map.get(key)?.equals(value) === true;
        before.set(name, key);
        if (!stands) this.#map.set(key, value);
      }
    } catch (error) {
      this.forget(pod.cookie);
      throw error;
    }
    for (const [name, key] of before) {
      if (wanted.has(name)) continue;
      this.#map.delete(key);
      before.delete(name);
    }
  }

  /** Leaves nothing of a pod. */
  forget(cookie: bigint): void {
    const keys = [...this.#of(cookie).values()];
    // What refuses everything first.
    for (const key of keys.sort((a, b) => a.readUInt32LE(0) - b.readUInt32LE(0))) this.#map.delete(key);
    this.#known.delete(cookie);
  }

  #of(cookie: bigint): Map<string, Buffer> {
    const known = this.#known.get(cookie);
    if (known !== undefined) return known;
    const found = this.#map.keys().filter((key) => cookieOfRoute(key) === cookie);
    const keys = new Map(found.map((key) => [key.toString('latin1'), key]));
    this.#known.set(cookie, keys);
    return keys;
  }
}
