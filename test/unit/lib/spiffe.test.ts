import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parseSpiffeUri, sameIdentity, SpiffeError, spiffeUri } from '../../../lib/spiffe.ts';

describe('lib/spiffe', () => {
  it('reads what it writes', () => {
    const id = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'payments' };
    assert.equal(spiffeUri(id), 'spiffe://cluster.local/ns/shop/sa/payments');
    assert.ok(sameIdentity(parseSpiffeUri(spiffeUri(id)), id));
  });

  for (const bad of [
    '',
    'spiffe://cluster.local',
    'spiffe://cluster.local/ns/shop/sa/',
    'spiffe://cluster.local/ns/shop/sa/a/b',
    'spiffe://cluster.local/ns//sa/a',
    'spiffe://Cluster.Local/ns/shop/sa/a',
    'SPIFFE://cluster.local/ns/shop/sa/a',
    'https://cluster.local/ns/shop/sa/a',
    'spiffe://cluster.local:8080/ns/shop/sa/a',
    'spiffe://user@cluster.local/ns/shop/sa/a',
    'spiffe://cluster.local/ns/shop/sa/a?x',
    'spiffe://cluster.local/ns/shop/sa/a#x',
    'spiffe://cluster.local/ns/sh%6fp/sa/a',
    'spiffe://cluster.local/ns/shop/sa/a\n',
    'spiffe://cluster.local/ns/shop/sa/a, URI:spiffe://cluster.local/ns/shop/sa/b',
  ]) {
    it(`refuses ${JSON.stringify(bad)}`, () => {
      assert.throws(() => parseSpiffeUri(bad), SpiffeError);
    });
  }
});
