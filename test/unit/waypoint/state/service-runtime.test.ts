import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { AuthorizationPolicy_Action as Action } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { JwksCache } from '../../../../waypoint/security/jwks-cache.ts';
import { ConfigStore } from '../../../../lib/mesh/waypoint/config-store.ts';
import { RuntimeStore } from '../../../../waypoint/state/service-runtime.ts';
import { head } from '../resilience/tools.ts';
import {
  authentication,
  authorization,
  key,
  remove,
  route,
  service,
  trafficPolicy,
  upsert,
} from '../support/resources.ts';

const PAY = key('pay');
const NOT_REGEX = { rules: [{ matches: [{ path: { how: { case: 'regex' as const, value: '(' } } }] }] };

describe('waypoint/state/service-runtime', () => {
  let config: ConfigStore;
  let runtimes: RuntimeStore;
  let errors: string[];
  let now: number;

  beforeEach(() => {
    config = new ConfigStore();
    errors = [];
    now = 0;
    const logError = (_message: string, fields: Readonly<Record<string, unknown>>): void =>
      void errors.push(String(fields['error']));
    runtimes = new RuntimeStore(config, new JwksCache(), undefined, logError, () => now);
  });

  const verdict = (): string | undefined =>
    runtimes.get(PAY)?.authorizer.evaluate(head({}, { service: PAY })).verdict;
  const match = (): string | undefined =>
    runtimes.get(PAY)?.table.match(head({}, { service: PAY }), 'shop').kind;

  it('knows no Service that was not told', () => {
    assert.equal(runtimes.get(PAY), undefined);
  });

  it('makes a runtime once, and a new one after a change that concerns it alone', () => {
    config.apply(upsert(service('pay'), service('auth')));
    const [pay, auth] = [runtimes.get(PAY), runtimes.get(key('auth'))];
    assert.ok(pay !== undefined && auth !== undefined);
    config.apply(upsert(route('r', ['pay'], { rules: [{}] })));
    assert.notEqual(runtimes.get(PAY), pay);
    assert.equal(runtimes.get(key('auth')), auth);
    assert.equal(match(), 'matched');
    // Requests under way go on with what they had.
    assert.equal(pay.table.match(head({}, { service: PAY }), 'shop').kind, 'no-routes');
  });

  it('denies while a policy that the Service names is not known', () => {
    config.apply(upsert(service('pay', { authorization: ['shop/p'] })));
    assert.equal(verdict(), 'deny');
    config.apply(upsert(authorization('p', { action: Action.DENY })));
    assert.equal(verdict(), 'allow');
    config.apply(upsert(authorization('p', { action: Action.DENY, rules: [{}] })));
    assert.equal(verdict(), 'deny');
    config.apply(remove(authorization('p')));
    assert.equal(verdict(), 'deny');
  });

  it('lets nobody in while a RequestAuthentication that the Service names is not known', async () => {
    config.apply(upsert(service('pay', { authentication: ['shop/j'] })));
    const ask = () => runtimes.get(PAY)?.authenticator?.authenticate(head());
    assert.equal((await ask())?.ok, false);
    config.apply(upsert(authentication('j')));
    assert.equal((await ask())?.ok, true);
    config.apply(upsert(service('pay')));
    assert.equal(runtimes.get(PAY)?.authenticator, undefined);
  });

  it("merges the policies of Service and route, and asks a route's by the route", () => {
    config.apply(
      upsert(
        service('pay', { trafficPolicy: 'shop/own' }),
        trafficPolicy('own', { timeouts: { request: 1 } }),
        trafficPolicy('routes', { timeouts: { request: 2 } }),
        route('r', ['pay'], { trafficPolicy: 'shop/routes', rules: [{}] }),
        route('plain', ['pay'], { rules: [{}] }),
      ),
    );
    const runtime = runtimes.get(PAY);
    const [r, plain] = [...config.routes(PAY)];
    assert.equal(runtime?.policy(undefined).parts.timeouts?.request, 1);
    assert.equal(runtime.policy(plain).parts.timeouts?.request, 1);
    assert.equal(runtime.policy(r).parts.timeouts?.request, 2);
    config.apply(remove(trafficPolicy('routes')));
    assert.equal(runtimes.get(PAY)?.policy(r).parts.timeouts?.request, 1);
  });

  it('keeps the former one where a new one cannot be made, and says so once', () => {
    config.apply(upsert(service('pay'), route('good', ['pay'], { rules: [{}] })));
    const former = runtimes.get(PAY);
    config.apply(upsert(route('bad', ['pay'], NOT_REGEX)));
    assert.equal(runtimes.get(PAY), former);
    assert.equal(runtimes.get(PAY), former);
    assert.equal(errors.length, 1);
    assert.match(errors[0] ?? '', /shop\/bad/);
    config.apply(remove(route('bad', [])));
    assert.ok(runtimes.get(PAY) !== former && match() === 'matched');
  });

  it('makes the table of many routes once for many changes, and holds a policy at once', () => {
    const routes = Array.from({ length: 1_000 }, (_, i) => route(`r${i}`, ['pay'], { rules: [{}] }));
    config.apply(upsert(service('pay'), ...routes));
    const first = runtimes.get(PAY);
    // The first table stands for 20 ms; a change is not lost meanwhile.
    config.apply(remove(...routes));
    now = 19;
    assert.equal(runtimes.get(PAY), first);
    assert.equal(match(), 'matched');
    now = 21;
    assert.equal(match(), 'no-routes');
    // A small table is made at once.
    config.apply(upsert(route('small', ['pay'], { rules: [{}] })));
    assert.equal(match(), 'matched');
    // Neither does a policy wait, nor a route change that waits behind it.
    config.apply(upsert(...routes));
    assert.equal(match(), 'matched');
    config.apply(remove(...routes, route('small', [])));
    config.apply(upsert(service('pay', { authorization: ['shop/unknown'] })));
    assert.equal(verdict(), 'deny');
    assert.equal(match(), 'no-routes');
  });

  it('has none where none could ever be made, and does not try at each request', () => {
    config.apply(upsert(service('pay'), route('bad', ['pay'], NOT_REGEX)));
    for (let i = 0; i < 3; i += 1) assert.equal(runtimes.get(PAY), undefined);
    assert.equal(errors.length, 1);
    config.apply(remove(route('bad', [])));
    assert.notEqual(runtimes.get(PAY), undefined);
  });

  it('forgets a Service that left, with what it remembered', () => {
    const limit = trafficPolicy('own', {
      rateLimit: { rules: [{ requests: 1, per: 3_600_000, burst: 1, status: 429 }] },
    });
    const pay = service('pay', { trafficPolicy: 'shop/own' });
    config.apply(upsert(pay, limit));
    const admitted = () => runtimes.get(PAY)?.policy(undefined).rateLimit?.check(head()).admit;
    assert.equal(admitted(), true);
    config.apply(upsert(pay));
    assert.equal(admitted(), false);
    config.apply(remove(pay));
    assert.equal(runtimes.get(PAY), undefined);
    config.apply(upsert(pay));
    assert.equal(admitted(), true);
  });
});
