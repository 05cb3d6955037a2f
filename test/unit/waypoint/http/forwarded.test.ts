import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { remoteAddress, writeForwarded } from '../../../../waypoint/http/forwarded.ts';
import type { Headers, Source } from '../../../../lib/mesh/waypoint/request.ts';
import { headers } from '../support/exchanges.ts';

const OWN = 'spiffe://cluster.local/ns/shop/sa/waypoint';
const SOURCE: Source = {
  ip: '10.0.0.5',
  port: 40_000,
  identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'frontend' },
  workload: undefined,
};

function written(from: Record<string, string | string[]>, hops: number, source = SOURCE): Headers {
  const own = headers(from);
  writeForwarded(own, source, hops, OWN, 'pay.shop');
  return own;
}

describe('waypoint/http/forwarded', () => {
  const told: [xff: string | string[], hops: number, address: string][] = [
    ['1.1.1.1', 0, '10.0.0.5'],
    ['1.1.1.1', 1, '1.1.1.1'],
    ['9.9.9.9, 1.1.1.1', 1, '1.1.1.1'],
    ['9.9.9.9, 1.1.1.1, 2.2.2.2', 2, '1.1.1.1'],
    // Fewer entries than trusted hops: the farthest there is.
    ['1.1.1.1', 3, '1.1.1.1'],
    [['9.9.9.9', '1.1.1.1'], 1, '1.1.1.1'],
    [' 1.1.1.1 ,', 1, '1.1.1.1'],
    ['2001:db8::1', 1, '2001:db8::1'],
    ['unknown', 1, '10.0.0.5'],
    ['1.1.1.1:80', 1, '10.0.0.5'],
    ['', 1, '10.0.0.5'],
  ];
  for (const [xff, hops, address] of told) {
    it(`takes ${address} from ${JSON.stringify(xff)} with ${hops} trusted hops`, () => {
      assert.equal(remoteAddress(headers({ 'x-forwarded-for': xff }), SOURCE, hops), address);
    });
  }

  it('takes the peer itself where there is no header', () => {
    assert.equal(remoteAddress(headers(), SOURCE, 2), '10.0.0.5');
  });

  it('believes nothing without trusted hops', () => {
    const forged = {
      'x-forwarded-for': '9.9.9.9',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'evil',
      'x-forwarded-port': '1',
      'x-real-ip': '9.9.9.9',
      forwarded: 'for=9.9.9.9',
      'x-forwarded-client-cert': 'By=evil;URI=spiffe://evil',
    };
    assert.deepEqual(
      { ...written(forged, 0) },
      {
        'x-forwarded-for': '10.0.0.5',
        'x-forwarded-proto': 'http',
        'x-forwarded-host': 'pay.shop',
        'x-forwarded-client-cert': `By=${OWN};URI=spiffe://cluster.local/ns/shop/sa/frontend`,
      },
    );
  });

  it('keeps what trusted hops wrote, and of the addresses no more than they wrote', () => {
    const own = written(
      {
        'x-forwarded-for': '9.9.9.9, 1.1.1.1',
        'x-forwarded-proto': 'https',
        'x-forwarded-host': 'shop.example',
      },
      1,
    );
    assert.equal(own['x-forwarded-for'], '1.1.1.1, 10.0.0.5');
    assert.equal(own['x-forwarded-proto'], 'https');
    assert.equal(own['x-forwarded-host'], 'shop.example');
  });

  it('never takes over a client certificate, not even from a trusted hop', () => {
    const forged = { 'x-forwarded-client-cert': 'By=evil' };
    assert.doesNotMatch(String(written(forged, 3)['x-forwarded-client-cert']), /evil/);
    const unknown = written(forged, 0, { ...SOURCE, identity: undefined });
    assert.equal('x-forwarded-client-cert' in unknown, false);
  });

  it('looks at a bounded number of entries', () => {
    const own = written({ 'x-forwarded-for': Array.from({ length: 1_000 }, () => '9.9.9.9') }, 500);
    assert.equal(String(own['x-forwarded-for']).split(',').length, 33);
  });
});
