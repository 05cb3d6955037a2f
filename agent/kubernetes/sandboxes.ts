/** The sandboxes of the node's pods as the container runtime tells of them. Told, not asked: it may be behind, or silent. */
import { oneOfEachFamily } from './node-objects.ts';

export interface Sandbox {
  /** The runtime's. */
  readonly id: string;
  /** The uid by which the kubelet knows the pod. */
  readonly pod: string;
  /** The process that holds its namespaces; undefined: not told. */
  readonly pid: number | undefined;
  /** Path of its network namespace where that is told, as when no process is in it yet. */
  readonly netns?: string;
  /** None where the runtime does not tell them. */
  readonly ips: readonly string[];
}

export class Sandboxes {
  readonly #byId = new Map<string, Sandbox>();
  readonly #onChange: () => void;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** The pod's newest. */
  ofPod(pod: string): Sandbox | undefined {
    let found: Sandbox | undefined;
    for (const each of this.#byId.values()) if (each.pod === pod) found = each;
    return found;
  }

  /** These are all there are. */
  replace(sandboxes: readonly Sandbox[]): void {
    this.#byId.clear();
    for (const sandbox of sandboxes) this.#set(sandbox);
    this.#onChange();
  }

  add(sandbox: Sandbox): void {
    const before = this.#byId.get(sandbox.id);
    this.#set(sandbox);
    if (JSON.stringify(before) !== JSON.stringify(this.#byId.get(sandbox.id))) this.#onChange();
  }

  remove(id: string): void {
    if (this.#byId.delete(id)) this.#onChange();
  }

  #set(sandbox: Sandbox): void {
    this.#byId.set(sandbox.id, { ...sandbox, ips: oneOfEachFamily(sandbox.ips) });
  }
}
