import type { LoadBalancing, RoutingScope, Workload } from './model.ts';

/** What can be chosen: anything that stands for a workload. */
export interface Candidate {
  readonly workload: Workload;
}

/**
 * Chooses by locality, then at random by capacity (ambient-facts C3). A candidate's rank is how many of the leading
 * preferences it shares with the source: strict takes those that share all, failover those of the best rank.
 *
 * @param random 0 ≤ x < 1
 * @returns undefined when there is nothing with capacity to choose from
 */
export function chooseEndpoint<C extends Candidate>(
  candidates: readonly C[],
  source: Workload,
  balancing: Pick<LoadBalancing, 'mode' | 'routingPreference'>,
  random: () => number,
): C | undefined {
  return weighted(preferred(candidates, source, balancing), random);
}

function preferred<C extends Candidate>(
  candidates: readonly C[],
  source: Workload,
  { mode, routingPreference }: Pick<LoadBalancing, 'mode' | 'routingPreference'>,
): readonly C[] {
  if (mode !== 'strict' && mode !== 'failover') return candidates;
  let best = mode === 'strict' ? routingPreference.length : 0;
  let chosen: C[] = [];
  for (const candidate of candidates) {
    if (candidate.workload.capacity === 0) continue;
    const rank = localityRank(candidate.workload, source, routingPreference);
    if (rank < best) continue;
    if (rank > best) {
      best = rank;
      chosen = [];
    }
    chosen.push(candidate);
  }
  return chosen;
}

function weighted<C extends Candidate>(candidates: readonly C[], random: () => number): C | undefined {
  const total = candidates.reduce((sum, c) => sum + c.workload.capacity, 0);
  if (total === 0) return undefined;
  let at = random() * total;
  for (const candidate of candidates) {
    at -= candidate.workload.capacity;
    if (at < 0) return candidate;
  }
  // Rounding can leave a hair over.
  return candidates.findLast((c) => c.workload.capacity > 0);
}

/** How many of the leading scopes a workload shares with a source. */
export function localityRank(workload: Workload, source: Workload, scopes: readonly RoutingScope[]): number {
  const differing = scopes.findIndex((scope) => scopeOf(workload, scope) !== scopeOf(source, scope));
  return differing < 0 ? scopes.length : differing;
}

function scopeOf(workload: Workload, scope: RoutingScope): string {
  switch (scope) {
    case 'region':
    case 'zone':
    case 'subzone':
      return workload.locality[scope];
    case 'node':
      return workload.node;
    case 'cluster':
      return workload.clusterId;
    case 'network':
      return workload.network;
  }
}
