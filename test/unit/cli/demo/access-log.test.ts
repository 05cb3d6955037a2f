import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { countsSince, LogTail, parseAccessLine } from '../../../../cli/demo/access-log.ts';

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'loam-test-'))));
afterEach(() => rmSync(dir, { recursive: true }));

describe('demo: the access log', () => {
  it('reads the end of a connection', () => {
    const line = {
      scope: 'access',
      direction: 'inbound',
      'src.workload': 'auth',
      'src.namespace': 'shop',
      'src.identity': 'spiffe://cluster.local/ns/shop/sa/auth',
      'dst.workload': 'payments-1',
      'dst.namespace': 'shop',
      bytes_sent: 1,
      bytes_recv: 2,
      duration: '13ms',
      error: 'denied',
      response_flags: 'DENY',
      policy: 'shop/p',
    };
    assert.deepEqual(parseAccessLine(JSON.stringify(line)), {
      direction: 'inbound',
      source: 'shop/auth',
      destination: 'shop/payments-1',
      sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/auth',
      bytesSent: 1,
      bytesReceived: 2,
      durationMs: 13,
      error: 'denied',
      flags: 'DENY',
      policy: 'shop/p',
    });
  });

  it('knows what failed of that which had begun before somebody watched', () => {
    const line = {
      ...{ scope: 'access', direction: 'outbound', bytes_sent: 0, bytes_recv: 0, time: 10_000 },
      ...{ duration: '4000ms', error: 'no state yet' },
    };
    const counts = (more: object, since: number): boolean | undefined => {
      const read = parseAccessLine(JSON.stringify({ ...line, ...more }));
      return read && countsSince(read, since);
    };
    assert.equal(counts({}, 6_001), false);
    assert.equal(counts({}, 6_000), true);
    assert.equal(counts({ error: undefined }, 6_001), true, 'it went well');
  });

  it('reads through which waypoint a connection went', () => {
    const line = {
      ...{ scope: 'access', direction: 'outbound', bytes_sent: 1, bytes_recv: 2, duration: '1ms' },
      'src.workload': 'frontend',
      'src.namespace': 'shop',
      'dst.service': 'auth.shop.svc.cluster.local',
      via: 'shop/waypoint.shop.svc.cluster.local',
    };
    assert.deepEqual(parseAccessLine(JSON.stringify(line)), {
      ...{ direction: 'outbound', source: 'shop/frontend', service: 'auth.shop.svc.cluster.local' },
      ...{ via: 'shop/waypoint', bytesSent: 1, bytesReceived: 2, durationMs: 1 },
    });
  });

  it('passes over everything else', () => {
    for (const text of ['', 'not JSON', '{"msg":"started"}', '{"scope":"access","direction":"sideways"}'])
      assert.equal(parseAccessLine(text), undefined, text);
  });

  it('follows a file that is rotated, and waits for a line to be whole', () => {
    const path = join(dir, 'log');
    const tail = new LogTail(path, 'start');
    assert.deepEqual(tail.read(), [], 'not there yet');
    writeFileSync(path, 'one\ntw');
    assert.deepEqual(tail.read(), ['one']);
    appendFileSync(path, 'o\n');
    renameSync(path, `${path}.1`);
    writeFileSync(path, 'three\n');
    assert.deepEqual(tail.read(), ['two', 'three']);
    appendFileSync(path, 'four\n');
    assert.deepEqual(tail.read(), ['four']);
    tail.close();
    const late = new LogTail(path, 'end');
    assert.deepEqual(late.read(), [], 'what was there before does not count');
    late.close();
  });
});
