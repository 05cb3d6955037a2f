import { catalog, go, selection } from './state.ts';
import type { CatalogPolicy, GraphEdge } from './types.ts';

/** `payments` of `shop/payments` where it is unmistakable; with the namespace where not. */
export function labelOf(id: string): string {
  const slash = id.indexOf('/');
  return id.startsWith('outside/') ? id.slice(slash + 1) : id;
}

/** Shows an edge in the graph. */
export function selectEdge({ from, to }: Pick<GraphEdge, 'from' | 'to'>): void {
  selection.value = { kind: 'edge', from, to };
  go();
}

/** The policy that data plane and log call so. */
export function policyOf(name: string): CatalogPolicy | undefined {
  return catalog.value?.policies.find((policy) => namesOf(policy).includes(name));
}

/** By which names flows know a policy. */
export function namesOf({ namespace, name, compiledTo }: CatalogPolicy): string[] {
  return [`${namespace}/${name}`, ...compiledTo.flatMap((each) => [each, each.slice(each.indexOf('/') + 1)])];
}

/** What flows counted by policy, for one policy. */
export function countOf(counts: Readonly<Record<string, number>>, policy: CatalogPolicy): number {
  const names = namesOf(policy);
  return Object.entries(counts).reduce(
    (sum, [key, count]) => sum + (key.split(', ').some((each) => names.includes(each)) ? count : 0),
    0,
  );
}
