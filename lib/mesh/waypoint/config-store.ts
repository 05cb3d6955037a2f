import type {
  Resource,
  Route,
  Service,
  Settings,
  TrafficPolicy,
} from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type {
  AuthorizationPolicy,
  RequestAuthentication,
} from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { compileRoute } from './routing/compile-route.ts';

/** One resource of the stream, understood. */
export interface NamedResource {
  readonly name: string;
  readonly resource: Resource;
}

export interface ResourceDelta {
  readonly upserts: readonly NamedResource[];
  readonly removed: readonly string[];
}

/** Services that a delta concerns, and those of them that it concerns by more than their routes. */
class Touched {
  readonly all = new Set<string>();
  readonly beyondRoutes = new Set<string>();
}

type Listener = (services: ReadonlySet<string>, beyondRoutes: ReadonlySet<string>) => void;

/**
 * What the controller told this waypoint, by object. A change of one object marks the Services that it concerns, whose
 * compiled form is then made anew at their next request; all others keep theirs.
 */
export class ConfigStore {
  readonly #resources = new Map<string, Resource>();
  readonly #services = new Map<string, Service>();
  /** Routes by the Service they attach to, then by resource name. */
  readonly #routes = new Map<string, Map<string, Route>>();
  /** By the name of a resource: the Services that refer to it, themselves or by their routes, and how often. */
  readonly #users = new Map<string, Map<string, number>>();
  readonly #listeners = new Set<Listener>();

  /** Applies upserts, then removals, and tells which Services are concerned. */
  apply(delta: ResourceDelta): void {
    const touched = new Touched();
    for (const { name, resource } of delta.upserts) {
      this.#keepSequence(name, resource);
      this.#drop(name, touched);
      this.#put(name, resource, touched);
    }
    for (const name of delta.removed) this.#drop(name, touched);
    for (const listener of this.#listeners) listener(touched.all, touched.beyondRoutes);
  }

  /** Calls back after each delta with the keys of the Services that it concerns, and which of them by more than routes. */
  onChange(listener: Listener): void {
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

  /** All of it by name. */
  entries(): Iterable<[name: string, resource: Resource]> {
    return this.#resources.entries();
  }

  /** A route's new version goes on in its sequence of backends, so that an edit does not begin it anew. */
  #keepSequence(name: string, { kind }: Resource): void {
    const former = this.#resources.get(name)?.kind;
    if (kind.case === 'route' && former?.case === 'route') compileRoute(kind.value, former.value);
  }

  #put(name: string, resource: Resource, touched: Touched): void {
    this.#resources.set(name, resource);
    const { kind } = resource;
    if (kind.case === 'service') {
      const service = kind.value;
      this.#services.set(service.key, service);
      for (const used of usedBy(service)) this.#use(used, service.key, 1);
    } else if (kind.case === 'route') {
      for (const { service } of kind.value.parents) {
        getOrMake(this.#routes, service, newMap<Route>).set(name, kind.value);
        for (const used of trafficPolicyOf(kind.value)) this.#use(used, service, 1);
      }
    }
    this.#touch(name, resource, touched);
  }

  #drop(name: string, touched: Touched): void {
    const resource = this.#resources.get(name);
    if (resource === undefined) return;
    this.#touch(name, resource, touched);
    this.#resources.delete(name);
    const { kind } = resource;
    if (kind.case === 'service') {
      const service = kind.value;
      this.#services.delete(service.key);
      for (const used of usedBy(service)) this.#use(used, service.key, -1);
    } else if (kind.case === 'route') {
      for (const { service } of kind.value.parents) {
        const routes = this.#routes.get(service);
        routes?.delete(name);
        if (routes?.size === 0) this.#routes.delete(service);
        for (const used of trafficPolicyOf(kind.value)) this.#use(used, service, -1);
      }
    }
  }

  /** One reference more or one less. */
  #use(resource: string, service: string, by: 1 | -1): void {
    const users = getOrMake(this.#users, resource, newMap<number>);
    const count = (users.get(service) ?? 0) + by;
    if (count > 0) users.set(service, count);
    else users.delete(service);
    if (users.size === 0) this.#users.delete(resource);
  }

  #touch(name: string, { kind }: Resource, touched: Touched): void {
    if (kind.case === 'route') {
      for (const { service } of kind.value.parents) touched.all.add(service);
      return;
    }
    const services = kind.case === 'service' ? [kind.value.key] : (this.#users.get(name)?.keys() ?? []);
    for (const service of services) {
      touched.all.add(service);
      touched.beyondRoutes.add(service);
    }
  }
}

function usedBy(service: Service): string[] {
  return [
    ...service.authorization.map((name) => `authorization/${name}`),
    ...service.authentication.map((name) => `authentication/${name}`),
    ...trafficPolicyOf(service),
  ];
}

function trafficPolicyOf({ trafficPolicy }: Service | Route): string[] {
  return trafficPolicy === '' ? [] : [`traffic/${trafficPolicy}`];
}

function getOrMake<V>(map: Map<string, V>, key: string, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

function newMap<V>(): Map<string, V> {
  return new Map();
}
