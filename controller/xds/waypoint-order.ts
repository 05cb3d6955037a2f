import type { Delta } from './type-subscription.ts';

/**
 * The order in which a waypoint learns, by the first part of a resource's name: what a Service names is there before it,
 * so that no request meets a Service whose policies are still to come.
 */
const ORDER = ['settings', 'authorization', 'authentication', 'traffic', 'route', 'service'];

function rank(name: string): number {
  const slash = name.indexOf('/');
  const at = ORDER.indexOf(slash < 0 ? name : name.slice(0, slash));
  return at < 0 ? ORDER.length : at;
}

/** Policies and routes before Services; removals the other way round. The order within a kind stays. */
export function inWaypointOrder({ upserts, removed }: Delta): Delta {
  return {
    upserts: [...upserts].sort((a, b) => rank(a.name) - rank(b.name)),
    removed: [...removed].sort((a, b) => rank(b) - rank(a)),
  };
}
