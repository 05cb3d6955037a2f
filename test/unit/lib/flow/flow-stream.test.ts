import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { FlowEvent, FlowFacts, FlowRecord, FlowWindow } from '../../../../lib/flow/event.ts';
import { bucketMs, bucketOf, Histogram } from '../../../../lib/flow/histogram.ts';
import { FlowHub } from '../../../../lib/flow/hub.ts';
import { FlowRecorder, type FlowBatch, type WatchLevel } from '../../../../lib/flow/recorder.ts';
import { eventually } from '../../ztunnel/support/streams.ts';

const FACTS: FlowFacts = {
  side: 'destination',
  source: { ip: '198.18.0.1', port: 40_000, workload: 'frontend', namespace: 'shop' },
  destination: { ip: '198.18.0.2', port: 80, workload: 'auth', namespace: 'shop' },
  service: 'shop/auth',
  mtls: true,
};

function opened(id: number, allowed = true): FlowEvent {
  return { kind: 'opened', id, at: 1, ...FACTS, verdict: { allowed } };
}

describe('lib/flow histogram', () => {
  it('reads quantiles with the error of its buckets, also of several that are merged', () => {
    const [left, right] = [new Histogram(), new Histogram()];
    for (let ms = 1; ms <= 1000; ms += 1) (ms % 2 === 0 ? left : right).add(ms);
    const both = new Histogram();
    both.merge(left.toDurations());
    both.merge(right.toDurations());
    assert.equal(both.total, 1000);
    const [p50 = 0, p95 = 0, p99 = 0] = both.quantiles([0.5, 0.95, 0.99]);
    for (const [seen, right] of [
      [p50, 500],
      [p95, 950],
      [p99, 990],
    ] as const)
      assert.ok(Math.abs(seen - right) / right < 0.05, `${seen} for ${right}`);
  });

  it('takes what is too short, too long or no number, and refuses broken counts', () => {
    assert.equal(bucketOf(0), 0);
    assert.equal(bucketOf(NaN), 0);
    assert.equal(bucketOf(Infinity), 280);
    assert.ok(Math.abs(bucketMs(bucketOf(42)) - 42) / 42 < 0.05);
    const histogram = new Histogram();
    histogram.merge([3, 2, -1, 5, 1000, 1, 4]);
    assert.equal(histogram.total, 2);
    assert.equal(new Histogram().quantile(0.5), undefined);
  });
});

describe('lib/flow recorder', () => {
  let batches: FlowBatch[];
  let recorder: FlowRecorder;

  beforeEach(() => {
    batches = [];
    recorder = new FlowRecorder((batch) => batches.push(batch));
  });
  afterEach(() => recorder.watch('off'));

  const windows = (): FlowWindow[] => batches.flatMap(({ window }) => (window === undefined ? [] : [window]));

  it('makes no event that nobody watches', () => {
    recorder.watch('windows');
    recorder.event(() => assert.fail('made an event for nobody'));
  });

  it('sums up exactly what is too much to tell one by one, and counts what it did not tell', async () => {
    recorder.watch('events');
    for (let i = 0; i < 5_000; i += 1) {
      recorder.edge('connection', FACTS).ended += 1;
      recorder.event(() => opened(i));
    }
    recorder.event(() => opened(5_000, false));
    await eventually(() => windows().length > 0);
    const told = batches.flatMap(({ events }) => events);
    const lost = batches.reduce((sum, batch) => sum + batch.lost, 0);
    assert.equal(told.length + lost, 5_001);
    assert.ok(lost > 0 && told.some(({ verdict }) => !verdict.allowed), 'a denial finds room beside a flood');
    assert.deepEqual(
      windows()[0]?.edges.map(({ ended, source }) => ({ ended, source })),
      [{ ended: 5_000, source: { workload: 'frontend', namespace: 'shop' } }],
    );
  });

  it('keeps what clients without a workload have made of bounded edges', async () => {
    recorder.watch('windows');
    for (let i = 0; i < 10_000; i += 1) {
      const ip = `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
      recorder.edge('connection', { ...FACTS, source: { ip, port: i } }).ended += 1;
    }
    await eventually(() => windows().length > 0);
    const [window] = windows();
    assert.equal(window?.edges.length, 4_001);
    assert.equal(window?.overflow, 6_000);
    assert.equal(
      window?.edges.reduce((sum, { ended }) => sum + ended, 0),
      10_000,
    );
  });

  it('counts the bytes of what is open from the moment that somebody looks', async () => {
    const growth: [number, number][] = [
      [1_000, 0],
      [5, 7],
    ];
    const live = { facts: FACTS, takeGrowth: () => growth.shift() ?? ([0, 0] as const) };
    const counting = new FlowRecorder(
      (batch) => batches.push(batch),
      () => [live],
    );
    counting.watch('windows');
    await eventually(() => windows().length > 0);
    counting.watch('off');
    const [edge] = windows()[0]?.edges ?? [];
    assert.deepEqual([edge?.up, edge?.down, edge?.active], [5, 7, 1]);
  });
});

describe('lib/flow hub', () => {
  let server: Server;
  let hub: FlowHub;
  let levels: WatchLevel[];
  let wanted: 'none' | 'notable' | 'all';

  beforeEach(async () => {
    levels = [];
    wanted = 'all';
    hub = new FlowHub({
      hello: { program: 'ztunnel', version: '0', node: 'node-a' },
      watch: (level) => levels.push(level),
    });
    server = createServer((_request, response) => {
      if (!hub.serve(response, wanted)) response.writeHead(503).end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  async function read(): Promise<{ response: IncomingMessage; records: FlowRecord[] }> {
    const asked = get({ port: (server.address() as AddressInfo).port, agent: false });
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    const records: FlowRecord[] = [];
    let rest = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = `${rest}${chunk}`.split('\n');
      rest = lines.pop() ?? '';
      records.push(...lines.map((line) => JSON.parse(line) as FlowRecord));
    });
    response.on('error', () => undefined);
    return { response, records };
  }

  it('has the workers record only while somebody reads, and only what that one wants', async () => {
    wanted = 'none';
    const first = await read();
    wanted = 'all';
    const second = await read();
    second.response.destroy();
    await eventually(() => levels.length === 3);
    first.response.destroy();
    await eventually(() => levels.length === 4);
    assert.deepEqual(levels, ['windows', 'events', 'windows', 'off']);
  });

  it('gives each reader what it asked for, and tells it of a successor', async () => {
    wanted = 'notable';
    const { records } = await read();
    hub.apply({ events: [opened(1), opened(2, false)], lost: 3 });
    hub.leave();
    await eventually(() => records.length === 4);
    assert.deepEqual(
      records.map(({ kind }) => kind),
      ['hello', 'opened', 'lost', 'leaving'],
    );
    assert.equal((records[1] as { id: number }).id, 2);
  });

  it('leaves out, counts and tells what a reader is too slow for, instead of keeping it', async () => {
    const { response, records } = await read();
    await eventually(() => records.length === 1);
    response.pause();
    const big = opened(1);
    const events = Array.from({ length: 2_000 }, () => ({ ...big, error: 'x'.repeat(1_000) }) as FlowEvent);
    for (let i = 0; i < 40; i += 1) {
      hub.apply({ events, lost: 0 });
      await new Promise(setImmediate);
    }
    response.resume();
    await eventually(() => {
      hub.apply({ events: [], lost: 0 });
      return records.some(({ kind }) => kind === 'lost');
    });
    const lost = records.find(({ kind }) => kind === 'lost') as { why: string; events: number };
    const told = records.filter(({ kind }) => kind === 'opened').length;
    assert.equal(lost.why, 'reader');
    assert.equal(told + lost.events, 80_000);
  });

  it('serves a bounded number of readers', async () => {
    const all = await Promise.all(Array.from({ length: 9 }, () => read()));
    assert.deepEqual(all.map(({ response }) => response.statusCode).sort(), [
      ...Array.from({ length: 8 }, () => 200),
      503,
    ]);
  });
});
