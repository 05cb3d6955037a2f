import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import {
  ConfigStore,
  type NamedResource,
  type ResourceDelta,
} from '../../../../../lib/mesh/waypoint/config-store.ts';
import {
  authentication,
  authorization,
  key,
  remove,
  route,
  service,
  settings,
  trafficPolicy,
  upsert,
} from '../../../waypoint/support/resources.ts';

describe('waypoint/state/config-store', () => {
  let store: ConfigStore;
  let touched: ReadonlySet<string>;

  beforeEach(() => {
    store = new ConfigStore();
    store.onChange((services) => (touched = services));
  });

  /** @returns names of the Services that a change concerns */
  function apply(delta: ResourceDelta): string[] {
    store.apply(delta);
    return [...touched].map((k) => k.slice('shop/'.length, k.indexOf('.'))).sort();
  }

  it('knows what it was told, by kind and name', () => {
    apply(
      upsert(
        service('pay'),
        route('r', ['pay']),
        authorization('a'),
        authentication('j'),
        trafficPolicy('t'),
        settings({ trustedHops: 2 }),
      ),
    );
    assert.equal(store.size, 6);
    assert.equal(store.service(key('pay'))?.name, 'pay');
    assert.deepEqual(
      [...store.routes(key('pay'))].map(({ name }) => name),
      ['r'],
    );
    assert.equal(store.authorization('shop/a')?.name, 'a');
    assert.equal(store.authentication('shop/j')?.name, 'j');
    assert.equal(store.trafficPolicy('shop/t')?.name, 't');
    assert.equal(store.settings?.trustedHops, 2);
    assert.equal(store.authorization('shop/j'), undefined);
    assert.deepEqual([...store.names()].sort(), [
      'authentication/shop/j',
      'authorization/shop/a',
      'route/HTTPRoute/shop/r',
      `service/${key('pay')}`,
      'settings',
      'traffic/shop/t',
    ]);
  });

  it('touches the Service that came, changed or left, and no other', () => {
    assert.deepEqual(apply(upsert(service('pay'), service('auth'))), ['auth', 'pay']);
    assert.deepEqual(apply(upsert(service('pay', { ports: [{ port: 81 }] }))), ['pay']);
    assert.deepEqual(apply(remove(service('pay'))), ['pay']);
    assert.equal(store.service(key('pay')), undefined);
    assert.deepEqual(apply(remove(service('pay'))), []);
  });

  it('touches the parents that a route has and those that it had', () => {
    apply(upsert(service('pay'), service('auth'), service('mail')));
    assert.deepEqual(apply(upsert(route('r', ['pay', 'auth']))), ['auth', 'pay']);
    assert.deepEqual(apply(upsert(route('r', ['auth', 'mail']))), ['auth', 'mail', 'pay']);
    assert.deepEqual([...store.routes(key('pay'))], []);
    assert.deepEqual(apply(remove(route('r', []))), ['auth', 'mail']);
    assert.deepEqual([...store.routes(key('mail'))], []);
  });

  const users: [what: string, policy: NamedResource, user: Parameters<typeof service>[1]][] = [
    ['an AuthorizationPolicy', authorization('p'), { authorization: ['shop/p'] }],
    ['a RequestAuthentication', authentication('p'), { authentication: ['shop/p'] }],
    ['a TrafficPolicy', trafficPolicy('p'), { trafficPolicy: 'shop/p' }],
  ];
  for (const [what, policy, user] of users) {
    it(`touches the Services that name ${what}, whichever came first`, () => {
      apply(upsert(service('pay', user), service('auth')));
      assert.deepEqual(apply(upsert(policy)), ['pay']);
      apply(upsert(service('auth', user)));
      assert.deepEqual(apply(upsert(policy)), ['auth', 'pay']);
      apply(upsert(service('pay')));
      assert.deepEqual(apply(upsert(policy)), ['auth']);
      assert.deepEqual(apply(remove(policy)), ['auth']);
      apply(remove(service('auth')));
      assert.deepEqual(apply(upsert(policy)), []);
    });
  }

  it('tells policies of one name and different kinds apart', () => {
    apply(
      upsert(service('pay', { authorization: ['shop/p'] }), service('auth', { trafficPolicy: 'shop/p' })),
    );
    assert.deepEqual(apply(upsert(authorization('p'))), ['pay']);
    assert.deepEqual(apply(upsert(trafficPolicy('p'))), ['auth']);
  });

  it("touches the parents of a route by the route's TrafficPolicy, as long as it has it", () => {
    const policy = trafficPolicy('p');
    apply(upsert(service('pay'), service('auth'), route('r', ['pay', 'auth'], { trafficPolicy: 'shop/p' })));
    assert.deepEqual(apply(upsert(policy)), ['auth', 'pay']);
    apply(upsert(route('r', ['auth'], { trafficPolicy: 'shop/p' })));
    assert.deepEqual(apply(upsert(policy)), ['auth']);
    apply(upsert(route('r', ['auth'])));
    assert.deepEqual(apply(upsert(policy)), []);
  });

  it('keeps a Service with its policy while itself, or one route of several, has it', () => {
    const policy = trafficPolicy('p');
    const using = { trafficPolicy: 'shop/p' };
    const twice = { ...using, parents: [80, 81].map((port) => ({ service: key('pay'), port })) };
    apply(upsert(service('pay', using), route('a', [], twice), route('b', ['pay'], using)));
    assert.deepEqual(apply(upsert(policy)), ['pay']);
    apply(upsert(service('pay')));
    assert.deepEqual(apply(upsert(policy)), ['pay']);
    apply(remove(route('b', [])));
    assert.deepEqual(apply(upsert(policy)), ['pay']);
    apply(remove(route('a', [])));
    assert.deepEqual(apply(upsert(policy)), []);
  });

  it('touches no Service by settings, which are asked for each request', () => {
    apply(upsert(service('pay')));
    assert.deepEqual(apply(upsert(settings({ trustedHops: 1 }))), []);
    assert.deepEqual(apply(remove(settings())), []);
    assert.equal(store.settings, undefined);
  });

  it('tells once for each delta, after all of it is in force', () => {
    const seen: (string | undefined)[] = [];
    store.onChange(() => seen.push(store.authorization('shop/a')?.name));
    store.apply({
      upserts: [service('pay', { authorization: ['shop/a'] }), authorization('a')],
      removed: ['settings'],
    });
    assert.deepEqual(seen, ['a']);
  });
});
