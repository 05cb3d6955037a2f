import { canonicalIp, ipToBytes, prefixKey } from './ip.ts';
import type { AddressDelta, Membership, Service, ServicePort, Workload } from './model.ts';

/** A workload that serves a service, with its ports for it. */
export interface Endpoint {
  readonly workload: Workload;
  readonly ports: readonly ServicePort[];
}

/** What a node's agent says of a pod, enough to find its workload. */
export interface PodReference {
  readonly clusterId: string;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
}

type RangeIndex = Map<number, Map<string, Service[]>>;

/**
 * Workloads and services, indexed for every look-up that a connection needs: none scans.
 * Holds what it is given until it is removed; validation is the decoder's work.
 */
export class WorkloadStore {
  readonly #workloads = new Map<string, Workload>();
  readonly #services = new Map<string, Service>();
  /** `network/ip` → workloads with that address, newest last: a reused address shows up before its old owner goes. */
  readonly #workloadsByAddress = new Map<string, Workload[]>();
  readonly #servicesByAddress = new Map<string, Service[]>();
  readonly #servicesByHostname = new Map<string, Set<Service>>();
  /** By network; then prefix length, longest first. */
  readonly #ranges = new Map<string, RangeIndex>();
  /** By service, whether or not the service itself is known yet; then by workload uid. */
  readonly #endpoints = new Map<string, Map<string, Endpoint>>();
  readonly #listeners = new Set<(delta: AddressDelta) => void>();

  /** Applies upserts, then removals; names that are not known are ignored. */
  apply(delta: AddressDelta): void {
    for (const resource of delta.upserts) {
      if (resource.kind === 'workload') this.#putWorkload(resource);
      else this.#putService(resource);
    }
    for (const name of delta.removed) this.#remove(name);
    for (const listener of this.#listeners) listener(delta);
  }

  /** Calls back after each delta was applied; returns how to stop that. */
  onChange(listener: (delta: AddressDelta) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  byUid(uid: string): Workload | undefined {
    return this.#workloads.get(uid);
  }

  /**
   * The workload of a pod on this node, by Istio's naming of uids; undefined when it is not known, or is known
   * under another service account (a stale one must not lend its identity).
   */
  workloadOfPod(pod: PodReference): Workload | undefined {
    const found = this.#workloads.get(`${pod.clusterId}//Pod/${pod.namespace}/${pod.name}`);
    return found?.identity.serviceAccount === pod.serviceAccount ? found : undefined;
  }

  /** The workload with that address in that network. Pods come before other kinds, then the newest. */
  workloadAt(network: string, ip: string): Workload | undefined {
    const found = this.#workloadsByAddress.get(addressKey(network, ip));
    return found?.findLast(isPod) ?? found?.at(-1);
  }

  /**
   * The service with that virtual address in that network: one address before a range, a longer range before a
   * shorter one; among several, the canonical one first.
   *
   * @param fromNamespace services that only their own namespace may see are skipped for others
   */
  serviceAt(network: string, ip: string, fromNamespace?: string): Service | undefined {
    return (
      this.serviceAtExactly(network, ip, fromNamespace) ?? this.#serviceInRange(network, ip, fromNamespace)
    );
  }

  /** Like {@link serviceAt}, without ranges. */
  serviceAtExactly(network: string, ip: string, fromNamespace?: string): Service | undefined {
    return pickService(this.#servicesByAddress.get(addressKey(network, ip)), fromNamespace);
  }

  /** What has that address: a service, else a workload, else the service of a range. */
  byAddress(network: string, ip: string, fromNamespace?: string): Workload | Service | undefined {
    return (
      this.serviceAtExactly(network, ip, fromNamespace) ??
      this.workloadAt(network, ip) ??
      this.#serviceInRange(network, ip, fromNamespace)
    );
  }

  /** A service by its key `namespace/hostname`. */
  service(key: string): Service | undefined {
    return this.#services.get(key);
  }

  /** Every service of that host name, in any namespace. */
  servicesByHostname(hostname: string): readonly Service[] {
    return [...(this.#servicesByHostname.get(hostname.toLowerCase()) ?? [])];
  }

  /** The endpoints of a service, by workload uid. */
  endpoints(serviceKey: string): ReadonlyMap<string, Endpoint> {
    return this.#endpoints.get(serviceKey) ?? NO_ENDPOINTS;
  }

  workloads(): Iterable<Workload> {
    return this.#workloads.values();
  }

  services(): Iterable<Service> {
    return this.#services.values();
  }

  get size(): { readonly workloads: number; readonly services: number } {
    return { workloads: this.#workloads.size, services: this.#services.size };
  }

  #putWorkload(workload: Workload): void {
    this.#dropService(workload.uid);
    const old = this.#workloads.get(workload.uid);
    this.#workloads.set(workload.uid, workload);
    // Addresses that stay keep their place: an update does not make a workload the newest owner.
    const kept = new Set(indexedAddresses(workload));
    for (const key of old ? indexedAddresses(old) : []) {
      if (!kept.has(key)) dropFromList(this.#workloadsByAddress, key, old);
    }
    for (const key of kept) replaceInList(this.#workloadsByAddress, key, old, workload);
    for (const membership of old?.services ?? []) this.#dropEndpoint(membership.service, workload.uid);
    for (const membership of workload.services) this.#putEndpoint(membership, workload);
  }

  #putService(service: Service): void {
    this.#dropWorkload(service.key);
    this.#dropService(service.key);
    this.#services.set(service.key, service);
    const hostname = service.hostname.toLowerCase();
    getOrMake(this.#servicesByHostname, hostname, () => new Set<Service>()).add(service);
    for (const address of service.addresses) {
      if (!address.range) {
        getOrMake(this.#servicesByAddress, addressKey(address.network, address.ip), newList).push(service);
        continue;
      }
      const { bytes, length } = address.range;
      const ranges = getOrMake(this.#ranges, address.network, (): RangeIndex => new Map());
      if (!ranges.has(length)) {
        ranges.set(length, new Map());
        const sorted = [...ranges].sort(([a], [b]) => b - a);
        ranges.clear();
        for (const [key, value] of sorted) ranges.set(key, value);
      }
      getOrMake(ranges.get(length) as Map<string, Service[]>, prefixKey(bytes, length), newList).push(
        service,
      );
    }
  }

  #remove(name: string): void {
    this.#dropWorkload(name);
    this.#dropService(name);
  }

  #dropWorkload(uid: string): void {
    const old = this.#workloads.get(uid);
    if (!old) return;
    this.#workloads.delete(uid);
    for (const key of indexedAddresses(old)) dropFromList(this.#workloadsByAddress, key, old);
    for (const membership of old.services) this.#dropEndpoint(membership.service, uid);
  }

  #dropService(key: string): void {
    const old = this.#services.get(key);
    if (!old) return;
    this.#services.delete(key);
    const hostname = old.hostname.toLowerCase();
    const named = this.#servicesByHostname.get(hostname);
    named?.delete(old);
    if (named?.size === 0) this.#servicesByHostname.delete(hostname);
    for (const address of old.addresses) {
      if (!address.range) {
        dropFromList(this.#servicesByAddress, addressKey(address.network, address.ip), old);
        continue;
      }
      const { bytes, length } = address.range;
      const ranges = this.#ranges.get(address.network);
      const ofLength = ranges?.get(length);
      if (ofLength) dropFromList(ofLength, prefixKey(bytes, length), old);
      if (ofLength?.size === 0) ranges?.delete(length);
      if (ranges?.size === 0) this.#ranges.delete(address.network);
    }
  }

  #serviceInRange(network: string, ip: string, fromNamespace: string | undefined): Service | undefined {
    const ranges = this.#ranges.get(network);
    const bytes = ranges && ipToBytes(ip);
    if (!bytes) return undefined;
    for (const [length, ofLength] of ranges) {
      if (length > bytes.length * 8) continue;
      const found = pickService(ofLength.get(prefixKey(bytes, length)), fromNamespace);
      if (found) return found;
    }
    return undefined;
  }

  #putEndpoint(membership: Membership, workload: Workload): void {
    const ofService = getOrMake(this.#endpoints, membership.service, () => new Map<string, Endpoint>());
    ofService.set(workload.uid, { workload, ports: membership.ports });
  }

  #dropEndpoint(service: string, uid: string): void {
    const ofService = this.#endpoints.get(service);
    ofService?.delete(uid);
    if (ofService?.size === 0) this.#endpoints.delete(service);
  }
}

const NO_ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map();

function addressKey(network: string, ip: string): string {
  return `${network}/${canonicalIp(ip) ?? ip}`;
}

/** Workloads on the host's network share its address, so none of them is *the* workload there. */
function indexedAddresses(workload: Workload): string[] {
  return workload.hostNetwork ? [] : workload.addresses.map((ip) => addressKey(workload.network, ip));
}

function isPod(workload: Workload): boolean {
  return workload.uid.includes('//Pod/');
}

function pickService(
  found: readonly Service[] | undefined,
  fromNamespace: string | undefined,
): Service | undefined {
  const visible = found?.filter(
    (s) => s.visibility === 'public' || fromNamespace === undefined || s.namespace === fromNamespace,
  );
  return visible?.find((s) => s.canonical) ?? visible?.at(0);
}

function newList<T>(): T[] {
  return [];
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

function dropFromList<T>(map: Map<string, T[]>, key: string, value: T | undefined): void {
  const rest = map.get(key)?.filter((other) => other !== value);
  if (rest?.length) map.set(key, rest);
  else map.delete(key);
}

function replaceInList<T>(map: Map<string, T[]>, key: string, old: T | undefined, value: T): void {
  const list = getOrMake(map, key, newList<T>);
  const at = old === undefined ? -1 : list.indexOf(old);
  if (at < 0) list.push(value);
  else list[at] = value;
}
