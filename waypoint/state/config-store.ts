import type {
  Resource,
  Route,
  Service,
  Settings,
  TrafficPolicy,
} from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type {
  AuthorizationPolicy,
  RequestAuthentication,
} from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { compileRoute } from '../routing/compile-route.ts';

/** One resource of the stream, understood. */
export interface NamedResource {
  readonly name: string;
  readonly resource: Resource;
}

export interface ResourceDelta {
  readonly upserts: readonly NamedResource[];
  readonly removed: readonly string[];
}

/**
 * What the controller told this waypoint, by object. A change of one object marks the Services that it concerns, whose
 * compiled form is then made anew at their next request; all others keep theirs.
 */
export class ConfigStore {
  readonly #resources = new Map<string, Resource>();
  readonly #services = new Map<string, Service>();
  /** Routes by the Service they attach to, then by resource name. */
  readonly #routes = new Map<string, Map<string, Route>>();
  /** Services by the name of a resource that they refer to. */
  readonly #users = new Map<string, Set<string>>();
  readonly #listeners = new Set<(services: ReadonlySet<string>) => void>();

  /** Applies upserts, then removals, and tells which Services are concerned. */
  apply(delta: ResourceDelta): void {
    const touched = new Set<string>();
    for (const { name, resource } of delta.upserts) {
      this.#keepSequence(name, resource);
      this.#drop(name, touched);
      this.#put(name, resource, touched);
    }
    for (const name of delta.removed) this.#drop(name, touched);
    for (const listener of this.#listeners) listener(touched);
  }

  /** Calls back after each delta with the keys of the Services that it concerns. */
  onChange(listener: (services: ReadonlySet<string>) => void): void {
    this.#listeners.add(listener);
  }

  service(key: string): Service | undefined {
    return this.#services.get(key);
  }

  services(): Iterable<Service> {
    return this.#services.values();
  }

  routes(service: string): Iterable<Route> {
    return this.#routes.get(service)?.values() ?? [];
  }

  authorization(name: string): AuthorizationPolicy | undefined {
    const kind = this.#resources.get(`authorization/${name}`)?.kind;
    return kind?.case === 'authorization' ? kind.value : undefined;
  }

  authentication(name: string): RequestAuthentication | undefined {
    const kind = this.#resources.get(`authentication/${name}`)?.kind;
    return kind?.case === 'authentication' ? kind.value : undefined;
  }

  trafficPolicy(name: string): TrafficPolicy | undefined {
    const kind = this.#resources.get(`traffic/${name}`)?.kind;
    return kind?.case === 'trafficPolicy' ? kind.value : undefined;
  }

  get settings(): Settings | undefined {
    const kind = this.#resources.get('settings')?.kind;
    return kind?.case === 'settings' ? kind.value : undefined;
  }

  get size(): number {
    return this.#resources.size;
  }

  names(): Iterable<string> {
    return this.#resources.keys();
  }

  /** A route's new version goes on in its sequence of backends, so that an edit does not begin it anew. */
  #keepSequence(name: string, { kind }: Resource): void {
    const former = this.#resources.get(name)?.kind;
    if (kind.case === 'route' && former?.case === 'route') compileRoute(kind.value, former.value);
  }

  #put(name: string, resource: Resource, touched: Set<string>): void {
    this.#resources.set(name, resource);
    const { kind } = resource;
    if (kind.case === 'service') {
      const service = kind.value;
      this.#services.set(service.key, service);
      for (const used of usedBy(service)) getOrMake(this.#users, used, newSet).add(service.key);
      touched.add(service.key);
    } else if (kind.case === 'route') {
      for (const { service } of kind.value.parents) {
        getOrMake(this.#routes, service, newMap<Route>).set(name, kind.value);
        if (kind.value.trafficPolicy !== '')
          getOrMake(this.#users, `traffic/${kind.value.trafficPolicy}`, newSet).add(service);
      }
    }
    this.#touch(name, resource, touched);
  }

  #drop(name: string, touched: Set<string>): void {
    const resource = this.#resources.get(name);
    if (resource === undefined) return;
    this.#touch(name, resource, touched);
    this.#resources.delete(name);
    const { kind } = resource;
    if (kind.case === 'service') {
      const service = kind.value;
      this.#services.delete(service.key);
      for (const used of usedBy(service)) {
        // A route of the same Service may use it too; then one rebuild too many happens, and none too few.
        if (![...this.routes(service.key)].some((route) => `traffic/${route.trafficPolicy}` === used))
          this.#users.get(used)?.delete(service.key);
      }
    } else if (kind.case === 'route') {
      for (const { service } of kind.value.parents) this.#routes.get(service)?.delete(name);
    }
  }

  #touch(name: string, { kind }: Resource, touched: Set<string>): void {
    if (kind.case === 'service') touched.add(kind.value.key);
    else if (kind.case === 'route') for (const { service } of kind.value.parents) touched.add(service);
    else for (const service of this.#users.get(name) ?? []) touched.add(service);
  }
}

function usedBy(service: Service): string[] {
  return [
    ...service.authorization.map((name) => `authorization/${name}`),
    ...service.authentication.map((name) => `authentication/${name}`),
    ...(service.trafficPolicy === '' ? [] : [`traffic/${service.trafficPolicy}`]),
  ];
}

function getOrMake<V>(map: Map<string, V>, key: string, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

function newSet(): Set<string> {
  return new Set();
}

function newMap<V>(): Map<string, V> {
  return new Map();
}
