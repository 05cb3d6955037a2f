import type { Policy, PolicyDelta, Workload } from './model.ts';

/** The policies that apply to a workload, and the names it lists that nobody has told us about. */
export interface ApplicablePolicies {
  readonly policies: readonly Policy[];
  readonly missing: readonly string[];
}

const GLOBAL = '';

/** L4 policies by name, and by the namespace that they apply to. */
export class PolicyStore {
  readonly #byName = new Map<string, Policy>();
  /** Namespace, or empty for the whole mesh, → policies of that scope by name. */
  readonly #byScope = new Map<string, Map<string, Policy>>();
  readonly #listeners = new Set<(delta: PolicyDelta) => void>();

  /** Applies upserts, then removals; names that are not known are ignored. */
  apply(delta: PolicyDelta): void {
    for (const policy of delta.upserts) this.#put(policy);
    for (const name of delta.removed) this.#drop(name);
    for (const listener of this.#listeners) listener(delta);
  }

  upsert(policy: Policy): void {
    this.apply({ upserts: [policy], removed: [] });
  }

  remove(name: string): void {
    this.apply({ upserts: [], removed: [name] });
  }

  /** A policy by `namespace/name`. */
  get(name: string): Policy | undefined {
    return this.#byName.get(name);
  }

  /** Calls back after each delta was applied; returns how to stop that. */
  onChange(listener: (delta: PolicyDelta) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Policies for a destination: its namespace's, the mesh's, and those its workload lists, each once. */
  applicable(destination: Pick<Workload, 'namespace' | 'authorizationPolicies'>): ApplicablePolicies {
    const found = new Map<string, Policy>();
    for (const scope of [destination.namespace, GLOBAL]) {
      for (const [name, policy] of this.#byScope.get(scope) ?? []) found.set(name, policy);
    }
    const missing = new Set<string>();
    for (const name of destination.authorizationPolicies) {
      const policy = this.#byName.get(name);
      if (policy) found.set(name, policy);
      else missing.add(name);
    }
    return { policies: [...found.values()], missing: [...missing] };
  }

  policies(): Iterable<Policy> {
    return this.#byName.values();
  }

  get size(): number {
    return this.#byName.size;
  }

  #put(policy: Policy): void {
    this.#drop(policy.key);
    this.#byName.set(policy.key, policy);
    const scope = scopeKey(policy);
    if (scope === undefined) return;
    let ofScope = this.#byScope.get(scope);
    if (!ofScope) this.#byScope.set(scope, (ofScope = new Map<string, Policy>()));
    ofScope.set(policy.key, policy);
  }

  #drop(name: string): void {
    const old = this.#byName.get(name);
    if (!old) return;
    this.#byName.delete(name);
    const scope = scopeKey(old);
    if (scope === undefined) return;
    const ofScope = this.#byScope.get(scope);
    ofScope?.delete(name);
    if (ofScope?.size === 0) this.#byScope.delete(scope);
  }
}

function scopeKey(policy: Policy): string | undefined {
  switch (policy.scope) {
    case 'global':
      return GLOBAL;
    case 'namespace':
      return policy.namespace;
    case 'workload':
      return undefined;
  }
}
