import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { HISTORY_RANGES, PrometheusHistory } from '../../../../cli/web/prometheus.ts';

const HOUR = HISTORY_RANGES[0] ?? 0;
const NOW = 1_800_000_000_000;

describe('cli/web history of a Prometheus', () => {
  let server: Server;
  let asked: URLSearchParams[];
  let authorizations: (string | undefined)[];
  let respond: (query: string) => { status?: number; body: string };
  let history: PrometheusHistory;

  const line = (...values: [number, string][]): { body: string } => ({
    body: JSON.stringify({
      status: 'success',
      data: { resultType: 'matrix', result: [{ metric: {}, values }] },
    }),
  });
  const none = { body: JSON.stringify({ status: 'success', data: { resultType: 'matrix', result: [] } }) };

  beforeEach(async () => {
    asked = [];
    authorizations = [];
    server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://here');
      asked.push(url.searchParams);
      authorizations.push(request.headers.authorization);
      const { status = 200, body } =
        url.pathname === '/prom/api/v1/query_range'
          ? respond(url.searchParams.get('query') ?? '')
          : { status: 404, body: 'no such page' };
      response.writeHead(status).end(body);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    history = new PrometheusHistory(`http://127.0.0.1:${(server.address() as AddressInfo).port}/prom`);
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });

  it('makes points of requests, failures and durations, with a step that fits the length', async () => {
    respond = (query) =>
      query.startsWith('service:istio_requests:')
        ? line([NOW / 1000 - 60, '4'], [NOW / 1000, '5'])
        : query.startsWith('service:istio_request_errors:')
          ? line([NOW / 1000, '1'])
          : query.includes('0.95')
            ? line([NOW / 1000 - 60, 'NaN'], [NOW / 1000, '80'])
            : line([NOW / 1000 - 60, 'NaN'], [NOW / 1000, '12']);
    assert.deepEqual(await history.of('shop/auth', HOUR, NOW), [
      { at: NOW - 60_000, rate: 4, failed: 0, denied: 0 },
      { at: NOW, rate: 5, failed: 1, denied: 0, p50: 12, p95: 80 },
    ]);
    assert.equal(
      asked[0]?.get('query'),
      'service:istio_requests:rate5m{destination_service_namespace="shop",destination_service_name="auth"}',
    );
    assert.deepEqual(
      ['start', 'end', 'step'].map((name) => asked[0]?.get(name)),
      [String((NOW - HOUR) / 1000), String(NOW / 1000), '30'],
    );
  });

  it('shows connections where no waypoint reads requests', async () => {
    respond = (query) => (query.includes('connections_opened') ? line([NOW / 1000, '3']) : none);
    assert.deepEqual(await history.of('shop/db', HOUR, NOW), [{ at: NOW, rate: 3, failed: 0, denied: 0 }]);
  });

  it('says plainly what is wrong', async () => {
    respond = () => none;
    await assert.rejects(history.of('shop/db', HOUR), /has nothing of shop\/db.*recording rules/);
    respond = () => ({ status: 401, body: 'who are you?' });
    await assert.rejects(
      history.of('shop/db', HOUR),
      /Prometheus at http:\/\/127\.0\.0\.1:\d+ answers 401: who are you\?/,
    );
    respond = () => ({ status: 422, body: JSON.stringify({ status: 'error', error: 'too many samples' }) });
    await assert.rejects(history.of('shop/db', HOUR), /answers 422: too many samples/);
    respond = () => ({ body: 'x'.repeat(2_000_000) });
    await assert.rejects(history.of('shop/db', HOUR), /answers more than 1048576 bytes/);
    await assert.rejects(new PrometheusHistory('http://127.0.0.1:1').of('shop/db', HOUR), /does not answer/);
    assert.throws(
      () => new PrometheusHistory('file:///etc/passwd'),
      /--prometheus "file.*" is no address; allowed: http/,
    );
  });

  it('takes a name and a password with the address, sends them as such, and never says them', async () => {
    respond = () => line([NOW / 1000, '3']);
    const { port } = server.address() as AddressInfo;
    const at = (port: number): PrometheusHistory =>
      new PrometheusHistory(`http://reader:p%40ss%@127.0.0.1:${port}/prom`);
    await new PrometheusHistory(`http://reader:p%40ss@127.0.0.1:${port}/prom`).of('shop/db', HOUR, NOW);
    assert.equal(authorizations[0], `Basic ${Buffer.from('reader:p@ss').toString('base64')}`);
    await at(port).of('shop/db', HOUR, NOW);
    assert.equal(authorizations.at(-1), `Basic ${Buffer.from('reader:p%40ss%').toString('base64')}`);
    await assert.rejects(at(1).of('shop/db', HOUR), (error: Error) => !error.message.includes('ss'));
  });

  it('lets nothing but a Service and a known length of time into a query', async () => {
    respond = () => none;
    for (const bad of ['shop', 'shop/a"} or up{a="', 'a/b/c', ''])
      await assert.rejects(history.of(bad, HOUR), /is not namespace\/name/);
    await assert.rejects(history.of('shop/db', 12), /range must be one of/);
    assert.equal(asked.length, 0);
  });
});
