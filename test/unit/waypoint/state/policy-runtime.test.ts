import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  RetryCondition,
  RouteRuleSchema,
  type TrafficPolicy,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { create } from '@bufbuild/protobuf';
import {
  mergeParts,
  PolicyMemory,
  PolicyRuntime,
  serviceName,
} from '../../../../waypoint/state/policy-runtime.ts';
import { head, policy } from '../resilience/tools.ts';
import { key } from '../support/resources.ts';

const ONE_EVER = { rules: [{ requests: 1, per: 3_600_000, burst: 1, status: 429 }] };

describe('waypoint/state/policy-runtime', () => {
  const own = policy({ namespace: 'shop', name: 'own', timeouts: { request: 1 }, rateLimit: ONE_EVER });

  it("takes each part from the route's policy, else from the Service's", () => {
    const route = policy({ timeouts: { request: 2 }, fault: { abortPercent: 1 } });
    const merged = mergeParts(route, own);
    assert.equal(merged.timeouts, route.timeouts);
    assert.equal(merged.fault, route.fault);
    assert.equal(merged.rateLimit, own.rateLimit);
    assert.equal(merged.retries, undefined);
    assert.equal(mergeParts(undefined, own).timeouts?.request, 1);
    assert.equal(mergeParts(route, undefined).timeouts?.request, 2);
    assert.deepEqual(mergeParts(undefined, undefined), {});
  });

  it('has nothing that was not configured', () => {
    const runtime = new PolicyRuntime('', undefined, undefined, new PolicyMemory('s', undefined));
    assert.deepEqual([runtime.fallback, runtime.fault, runtime.rateLimit], [undefined, undefined, undefined]);
    assert.equal(runtime.rateLimitPolicy, '');
  });

  function limited(memory: PolicyMemory, route: TrafficPolicy | undefined, service = own): PolicyRuntime {
    return new PolicyRuntime(route?.name ?? '', route, service, memory);
  }

  it('keeps buckets that are empty over a change of configuration', () => {
    const memory = new PolicyMemory('s', undefined);
    assert.equal(limited(memory, undefined).rateLimit?.check(head()).admit, true);
    const after = limited(memory, undefined, policy({ ...ownInit(), timeouts: { request: 5 } }));
    assert.equal(after.rateLimit?.check(head()).admit, false);
  });

  it("counts by the policy that limits: routes without a limit share the Service's buckets", () => {
    const memory = new PolicyMemory('s', undefined);
    const [a, b] = [policy({ namespace: 'shop', name: 'a' }), policy({ namespace: 'shop', name: 'b' })];
    assert.equal(limited(memory, a).rateLimit?.check(head()).admit, true);
    assert.equal(limited(memory, b).rateLimit?.check(head()).admit, false);
    assert.equal(limited(memory, b).rateLimitPolicy, 'shop/own');
    const c = policy({ namespace: 'shop', name: 'c', rateLimit: ONE_EVER });
    assert.equal(limited(memory, c).rateLimit?.check(head()).admit, true);
    assert.equal(limited(memory, c).rateLimitPolicy, 'shop/c');
  });

  it("does not let another namespace's route lift the Service's limits", () => {
    const memory = new PolicyMemory('s', undefined);
    const foreign = policy({ namespace: 'guest', name: 'lift', rateLimit: { rules: [] } });
    const first = limited(memory, foreign);
    assert.equal(first.rateLimitPolicy, 'shop/own');
    assert.equal(first.rateLimit?.check(head()).admit, true);
    assert.equal(first.rateLimit?.check(head()).admit, false);
    assert.equal(limited(memory, undefined).rateLimit?.check(head()).admit, false, 'the same bucket');
    const free = policy({ namespace: 'shop', name: 'own', timeouts: { request: 1 } });
    const own = limited(memory, policy({ namespace: 'guest', name: 'own', rateLimit: ONE_EVER }), free);
    assert.equal(own.rateLimitPolicy, 'guest/own', 'limits of its own are its own affair');
  });

  it('forgets the buckets that no policy uses any more', () => {
    const memory = new PolicyMemory('s', undefined);
    limited(memory, undefined).rateLimit?.check(head());
    memory.keepOnly(new Set(['', 'shop/own']));
    assert.equal(limited(memory, undefined).rateLimit?.check(head()).admit, false);
    memory.keepOnly(new Set(['']));
    assert.equal(limited(memory, undefined).rateLimit?.check(head()).admit, true);
  });

  it("gives a rule's own retries where it has some, once for each rule", () => {
    const retries = { on: [RetryCondition.GATEWAY_ERROR], attempts: 2 };
    const runtime = new PolicyRuntime('', undefined, policy({ retries }), new PolicyMemory('s', undefined));
    const facts = {
      method: 'GET',
      grpc: false,
      replayable: true,
      responseStarted: false,
      remainingMs: undefined,
    };
    const rule = create(RouteRuleSchema, { retry: { codes: [500], attempts: 1 } });
    const retriesOn = (from: typeof rule | undefined, status: number): boolean =>
      runtime.retries(from).decide({ kind: 'status', status }, 0, facts).retry;
    assert.equal(retriesOn(undefined, 503), true);
    assert.equal(retriesOn(undefined, 500), false);
    assert.equal(retriesOn(create(RouteRuleSchema), 500), false);
    assert.equal(retriesOn(rule, 500), true);
    assert.equal(runtime.retries(rule), runtime.retries(rule));
    assert.equal(runtime.retries(create(RouteRuleSchema)), runtime.retries(undefined));
  });

  it('names a Service as telemetry does', () => {
    assert.deepEqual(serviceName({ name: 'pay', namespace: 'shop', key: key('pay') } as never), {
      name: 'pay',
      namespace: 'shop',
      hostname: 'pay.shop.svc.cluster.local',
    });
  });

  function ownInit() {
    return { namespace: 'shop', name: 'own', rateLimit: ONE_EVER };
  }
});
