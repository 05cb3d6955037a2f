import { create } from '@bufbuild/protobuf';
import {
  type TrafficPolicy as Message,
  TrafficPolicySchema,
} from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { namespaceOf, type TrafficPolicy } from '../../model/objects.ts';
import { hostnameOf } from '../services.ts';
import type { FallbackProblem } from './fallback.ts';
import {
  compileCircuitBreaker,
  compileFallback,
  compileFault,
  compileLoadBalancing,
  compileOutlierDetection,
  compileRateLimit,
  compileRetries,
  compileSessionPersistence,
  compileTimeouts,
} from './traffic-parts.ts';

/**
 * One TrafficPolicy as the waypoint is told it, with all defaults applied. `fallback` says why its fallback cannot be used.
 * Pure; the object has passed schema and checks.
 */
export function compileTrafficPolicy(policy: TrafficPolicy, fallback: FallbackProblem | undefined): Message {
  const { spec } = policy;
  const namespace = namespaceOf(policy);
  const to = spec.fallback;
  const toNamespace = to?.namespace ?? namespace;
  return create(TrafficPolicySchema, {
    namespace,
    name: policy.metadata.name,
    ...(spec.retries && { retries: compileRetries(spec.retries) }),
    ...(spec.timeouts && { timeouts: compileTimeouts(spec.timeouts) }),
    ...(to && {
      fallback: compileFallback(
        to,
        `${toNamespace}/${hostnameOf(toNamespace, to.service)}`,
        fallback?.message,
      ),
    }),
    ...(spec.circuitBreaker && { circuitBreaker: compileCircuitBreaker(spec.circuitBreaker) }),
    ...(spec.outlierDetection && { outlierDetection: compileOutlierDetection(spec.outlierDetection) }),
    ...(spec.loadBalancing && { loadBalancing: compileLoadBalancing(spec.loadBalancing) }),
    ...(spec.sessionPersistence && {
      sessionPersistence: compileSessionPersistence(spec.sessionPersistence),
    }),
    ...(spec.rateLimit && { rateLimit: compileRateLimit(spec.rateLimit.rules) }),
    ...(spec.faultInjection && { fault: compileFault(spec.faultInjection) }),
  });
}
