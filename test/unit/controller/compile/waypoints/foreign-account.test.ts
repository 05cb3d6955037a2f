import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { gateway, meshOf, namespace, pod, service } from './mesh-of.ts';

const account = (name: string, labels = ''): string =>
  `{apiVersion: v1, kind: ServiceAccount, metadata: {name: ${name}, namespace: shop, labels: {${labels}}}}`;
const WEB = 'spiffe://cluster.local/ns/shop/sa/web';
const PORTS = '{port: 80, targetPort: 8080, protocol: TCP}';

describe('a Gateway whose name a ServiceAccount of others bears', () => {
  const mesh = (...more: string[]): ReturnType<typeof meshOf> =>
    meshOf([
      namespace('shop'),
      gateway('web'),
      pod('web', 'web'),
      pod('other', 'other'),
      service('other', 'other', PORTS, 'web'),
      ...more,
    ]);

  it('has no waypoint, and the pods of that account keep their identity', () => {
    const { waypoints, waypointIdentities, identities, outcomes } = mesh(account('web'));
    assert.equal(waypoints.size + waypointIdentities.size, 0);
    assert.ok(identities.get('node-a')?.has(WEB));
    const outcome = outcomes.get('Gateway/shop/web');
    assert.match(
      outcome?.message ?? '',
      /^metadata\.name is "web"; allowed for a waypoint, whose ServiceAccount/,
    );
    assert.deepEqual(
      outcome?.conditions?.map(({ type, status }) => `${type} ${status}`),
      ['Accepted True', 'Programmed False'],
    );
  });

  it('leaves the Services that want it out of reach, as one that is not there', () => {
    const { authorizations, addresses } = mesh(account('web'));
    assert.ok(
      [...authorizations.keys()].some((name) => name.includes('waypoint')),
      [...authorizations.keys()].join(),
    );
    assert.ok(addresses.has('shop/other.shop.svc.cluster.local'));
  });

  it('has one where the account was made for it, which no other pod may use', () => {
    const { waypointIdentities, identities } = mesh(
      account('web', '"gateway.networking.k8s.io/gateway-name": web'),
    );
    assert.equal(waypointIdentities.get('shop/web'), WEB);
    assert.ok(identities.get('node-a')?.has(WEB) !== true);
  });

  it('has none by the name that every namespace has an account of', () => {
    const { waypointIdentities, outcomes } = meshOf([namespace('shop'), gateway('default')]);
    assert.equal(waypointIdentities.size, 0);
    assert.match(outcomes.get('Gateway/shop/default')?.message ?? '', /"default"/);
  });
});
