import {
  egressResourceName,
  type EgressDelta,
  type EgressPolicy,
  type EgressWorkload,
  type PodTelemetry,
} from './model.ts';

/** What counts for one workload: its own resource, the policies that select it, and those of them that are not known. */
export interface ApplicableEgress {
  readonly workload: EgressWorkload;
  readonly policies: readonly EgressPolicy[];
  readonly missing: readonly string[];
}

/** The egress rules of this node's pods, as far as the controller told them. */
export class EgressStore {
  readonly #workloads = new Map<string, EgressWorkload>();
  readonly #policies = new Map<string, EgressPolicy>();
  readonly #telemetry = new Map<string, PodTelemetry>();
  readonly #listeners = new Set<(delta: EgressDelta) => void>();

  /** Applies upserts, then removals; names that are not known are ignored. */
  apply(delta: EgressDelta): void {
    for (const resource of delta.upserts) {
      const name = egressResourceName(resource);
      if (resource.kind === 'policy') this.#policies.set(name, resource);
      else if (resource.kind === 'telemetry') this.#telemetry.set(name, resource);
      else this.#workloads.set(name, resource);
    }
    for (const name of delta.removed) {
      this.#policies.delete(name);
      this.#workloads.delete(name);
      this.#telemetry.delete(name);
    }
    for (const listener of this.#listeners) listener(delta);
  }

  /** Calls back after each delta was applied; returns how to stop that. */
  onChange(listener: (delta: EgressDelta) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What counts for a workload; undefined when the controller has not told it. */
  applicable(uid: string): ApplicableEgress | undefined {
    const workload = this.#workloads.get(`workload/${uid}`);
    if (workload === undefined) return undefined;
    const policies: EgressPolicy[] = [];
    const missing: string[] = [];
    for (const key of workload.policies) {
      const policy = this.#policies.get(`policy/${key}`);
      if (policy === undefined) missing.push(key);
      else policies.push(policy);
    }
    return { workload, policies, missing };
  }

  /** What is told of a workload's connections; undefined: nothing is said about it. */
  telemetryOf(uid: string): PodTelemetry | undefined {
    return this.#telemetry.get(`telemetry/${uid}`);
  }

  /** For all workloads about which something is said. */
  telemetry(): Iterable<PodTelemetry> {
    return this.#telemetry.values();
  }

  workloads(): Iterable<EgressWorkload> {
    return this.#workloads.values();
  }

  policies(): Iterable<EgressPolicy> {
    return this.#policies.values();
  }
}
