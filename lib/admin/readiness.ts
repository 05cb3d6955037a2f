/** One condition of readiness; `reason` says why it is not met, or what it knows. */
export interface GateState {
  readonly name: string;
  readonly ready: boolean;
  readonly reason: string;
}

/** The answer of /healthz/ready. */
export interface ReadinessReport {
  readonly ready: boolean;
  /** Names of the gates that block. */
  readonly blockedBy: readonly string[];
  readonly gates: readonly GateState[];
}

/** Asks a gate for its state; asked anew each time, so that nothing stale is reported. */
export type Gate = () => Omit<GateState, 'name'>;

/** Whether this node's tunnel can serve, and which gate blocks if not. */
export class Readiness {
  readonly #gates = new Map<string, Gate>();

  add(name: string, gate: Gate): void {
    this.#gates.set(name, gate);
  }

  report(): ReadinessReport {
    const gates = [...this.#gates].map(([name, gate]) => ({ name, ...gate() }));
    const blockedBy = gates.filter((gate) => !gate.ready).map((gate) => gate.name);
    return { ready: blockedBy.length === 0, blockedBy, gates };
  }
}
