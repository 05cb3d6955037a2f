import type { Base } from './meta.ts';
import type { Selector, TargetRef } from './objects.ts';

/** security.istio.io/v1: which tokens requests may carry. */
export interface RequestAuthentication extends Base<'RequestAuthentication'> {
  readonly spec?: {
    readonly selector?: Selector;
    readonly targetRef?: TargetRef;
    readonly targetRefs?: readonly TargetRef[];
  } | null;
}
