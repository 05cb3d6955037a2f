/** What the mesh's objects say, as far as flows alone do not: names, who serves what, what should be in force. */

export interface CatalogPod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly account: string;
  readonly app: string;
  readonly version?: string;
  readonly ips: readonly string[];
  readonly ready: boolean;
  /** What the kernel shows; undefined: its agent does not answer. */
  readonly enrolled?: boolean;
  readonly problem?: string;
}

export interface CatalogService {
  readonly namespace: string;
  readonly name: string;
  readonly ports: readonly string[];
  /** Pods, `namespace/name`. */
  readonly pods: readonly string[];
  readonly waypoint?: string;
}

/** One rule of a route: where its requests go. */
export interface CatalogRule {
  /** As flows name it: `HTTPRoute/namespace/name#0`. */
  readonly key: string;
  /** Matches in words; empty: all. */
  readonly matches: readonly string[];
  /** `share` 0 to 1. */
  readonly backends: readonly { readonly service: string; readonly share: number }[];
}

export interface CatalogRoute {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Services it is attached to, `namespace/name`. */
  readonly parents: readonly string[];
  readonly rules: readonly CatalogRule[];
}

export interface CatalogPolicy {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** ALLOW, DENY, AUDIT, STRICT and the like; empty where it has none. */
  readonly action: string;
  /** Whom it applies to, in words. */
  readonly target: string;
  /** Its rules in words. */
  readonly rules: readonly string[];
  readonly dryRun: boolean;
  readonly state: string;
  readonly message?: string;
  /** Names by which data plane and log know it, when they differ. */
  readonly compiledTo: readonly string[];
}

export interface CatalogWaypoint {
  readonly namespace: string;
  readonly name: string;
  readonly instances: readonly { readonly name: string; readonly node: string; readonly ready: boolean }[];
  readonly serves: readonly string[];
}

export interface Catalog {
  readonly mesh: string;
  readonly pods: readonly CatalogPod[];
  readonly services: readonly CatalogService[];
  readonly routes: readonly CatalogRoute[];
  readonly policies: readonly CatalogPolicy[];
  readonly waypoints: readonly CatalogWaypoint[];
  readonly problems: readonly { readonly what: string; readonly why: string }[];
}

export const EMPTY_CATALOG: Catalog = {
  mesh: '',
  pods: [],
  services: [],
  routes: [],
  policies: [],
  waypoints: [],
  problems: [],
};
