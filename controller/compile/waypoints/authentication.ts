import type { Outcomes } from '../outcomes.ts';
import type { PolicyPart } from './part.ts';
import type { Waypoint, World } from './world.ts';

/** The RequestAuthentications that this waypoint enforces. None so far: every object of that kind is refused. */
export function compileAuthentications(_world: World, _waypoint: Waypoint, _outcomes: Outcomes): PolicyPart {
  return { resources: new Map(), forService: () => [] };
}
