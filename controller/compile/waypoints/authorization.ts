import type { Outcomes } from '../outcomes.ts';
import type { PolicyPart } from './part.ts';
import type { Waypoint, World } from './world.ts';

/**
 * The AuthorizationPolicies that this waypoint enforces. None so far: those with targetRefs are enforced for what L4
 * can see at the pods behind the Service (../authorization.ts), and their status says that they wait for a waypoint.
 */
export function compileAuthorizations(_world: World, _waypoint: Waypoint, _outcomes: Outcomes): PolicyPart {
  return { resources: new Map(), forService: () => [] };
}
