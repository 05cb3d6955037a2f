import type { Base } from './meta.ts';
import type { TargetRef } from './objects.ts';

/** loam.dev/v1: what a waypoint does beyond routing for the Services or routes that it is attached to. */
export interface TrafficPolicy extends Base<'TrafficPolicy'> {
  readonly spec: {
    readonly targetRefs: readonly TargetRef[];
  };
}
