import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { copyHeaders, isToken, removeHopByHop, withoutPrototype } from '../../../../waypoint/http/headers.ts';
import { headers } from '../support/exchanges.ts';

function afterHop(values: Record<string, string>): Record<string, unknown> {
  const own = headers(values);
  removeHopByHop(own);
  return { ...own };
}

describe('waypoint/http/headers', () => {
  it('removes what is of one connection only', () => {
    const fixed = {
      connection: 'close',
      'proxy-connection': 'close',
      'keep-alive': 'timeout=5',
      'transfer-encoding': 'chunked',
      upgrade: 'h2c',
      te: 'gzip',
      'proxy-authenticate': 'Basic',
      'proxy-authorization': 'Basic x',
      'http2-settings': 'AAMAAABk',
    };
    assert.deepEqual(afterHop({ ...fixed, 'x-a': '1', trailer: 'x-end' }), { 'x-a': '1', trailer: 'x-end' });
  });

  it('removes what `connection` lists, however it is written', () => {
    assert.deepEqual(afterHop({ connection: 'X-A ,x-b,, close', 'x-a': '1', 'x-b': '2', 'x-c': '3' }), {
      'x-c': '3',
    });
  });

  it('lets no client take away what the next hop decides by', () => {
    const kept = {
      host: 'a',
      'content-length': '1',
      authorization: 'Bearer x',
      cookie: 'a=1',
      'x-forwarded-for': '10.0.0.1',
      'x-forwarded-client-cert': 'By=x',
      'x-request-id': 'r',
      traceparent: 't',
    };
    assert.deepEqual(afterHop({ ...kept, connection: Object.keys(kept).join(', ') }), kept);
  });

  it('lets `te: trailers` through, and no other coding', () => {
    for (const te of ['trailers', 'gzip, Trailers', 'trailers;q=1, gzip'])
      assert.deepEqual(afterHop({ te, connection: 'te' }), { te: 'trailers' }, te);
    for (const te of ['gzip', 'xtrailers', 'trailersx']) assert.deepEqual(afterHop({ te }), {}, te);
  });

  it('takes over names as they are, without pseudo headers and without a prototype', () => {
    const own = withoutPrototype(
      JSON.parse('{":path":"/","__proto__":"x","a":"1"}') as Record<string, string>,
    );
    assert.equal(Object.getPrototypeOf(own), null);
    assert.deepEqual(Object.keys(own).sort(), ['__proto__', 'a']);
  });

  it('copies so that the first stays as it was', () => {
    const first = headers({ a: '1' });
    const copy = copyHeaders(first);
    copy['a'] = '2';
    assert.equal(first['a'], '1');
    assert.equal(Object.getPrototypeOf(copy), null);
  });

  it('knows tokens (RFC 9110 section 5.6.2)', () => {
    for (const token of ['GET', 'M-SEARCH', "!#$%&'*+-.^_`|~09Az"]) assert.equal(isToken(token), true, token);
    for (const other of ['', 'a b', 'a\n', 'a:', 'é', 'a/b', '"a"'])
      assert.equal(isToken(other), false, other);
  });
});
