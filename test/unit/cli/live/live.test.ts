import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { dotLines, edgeLines, mermaidLines, sortedEdges } from '../../../../cli/live/edges.ts';
import { eventLine, isMainWord } from '../../../../cli/live/event-text.ts';
import { countOf, secondsOf } from '../../../../cli/live/until.ts';
import { NO_COLOURS } from '../../../../cli/output/colours.ts';
import type { ConnectionEnded, RequestEnded } from '../../../../lib/flow/event.ts';
import type { GraphEdge } from '../../../../lib/flow/view.ts';

const AT = Date.parse('2026-01-01T10:20:30.456Z');
const ended: ConnectionEnded = {
  ...{ kind: 'ended', id: 1, at: AT, opened: true, durationMs: 1500, up: 100, down: 2000 },
  ...{ side: 'destination', mtls: true, service: 's/b' },
  source: { namespace: 's', workload: 'a' },
  destination: { namespace: 's', workload: 'b', port: 80 },
  verdict: { allowed: true, policy: 's/only-a' },
};
const request: RequestEnded = {
  ...{ kind: 'request', at: AT, protocol: 'http1', method: 'POST', authority: 'b', path: '/charge' },
  ...{ status: 503, durationMs: 12, up: 1, down: 2, attempts: 2, requestId: 'r', flags: ['UF'] },
  ...{ side: 'waypoint', mtls: true, service: 's/b', backend: 's/b-v1' },
  source: { namespace: 's', workload: 'a' },
  destination: {},
  verdict: { allowed: true },
};

describe('tap', () => {
  it('tells an event in a line', () => {
    assert.equal(
      eventLine(ended, NO_COLOURS),
      '10:20:30.456  s/a → s/b:80 (s/b)  mTLS  ended after 1.5 s  100 B up, 2.0 kB down  by s/only-a',
    );
    assert.equal(
      eventLine(request, NO_COLOURS),
      '10:20:30.456  s/a → s/b-v1  mTLS  POST /charge  503  12 ms  2 attempts  UF',
    );
    const denied = { ...ended, opened: false, verdict: { allowed: false, policy: 's/p', reason: 'because' } };
    assert.match(eventLine(denied, NO_COLOURS), /not opened .* DENIED by s\/p: because$/);
    const told = (reason: string, policy?: string): string | undefined =>
      / {2}(DENIED.*)$/.exec(
        eventLine(
          { ...denied, verdict: { allowed: false, reason, ...(policy !== undefined && { policy }) } },
          NO_COLOURS,
        ),
      )?.[1];
    assert.equal(told('denied', 's/p'), 'DENIED by s/p');
    assert.equal(told('denied by policy s/p', 's/p'), 'DENIED by s/p');
    assert.equal(told('denied: no certificate'), 'DENIED: no certificate');
  });

  it('tells a connection once, by the end that knows best', () => {
    assert.equal(isMainWord(ended), true);
    assert.equal(isMainWord({ ...ended, side: 'source' }), false);
    assert.equal(isMainWord({ ...ended, side: 'source', mtls: false }), true, 'nobody else tells of it');
    assert.equal(isMainWord({ ...ended, side: 'source', opened: false }), true, 'it never arrived');
    assert.equal(isMainWord(request), true);
  });

  it('says which numbers are not usable', () => {
    assert.equal(secondsOf('--for', '1.5'), 1500);
    assert.throws(
      () => secondsOf('--for', '0'),
      /--for "0" is not a number of seconds above 0, at most 86400/,
    );
    assert.throws(() => countOf('--count', '1.5'), { code: 'MESH_INPUT' });
  });
});

describe('top and graph', () => {
  const edge = (to: string, more: Partial<GraphEdge>): GraphEdge => ({
    ...{
      from: 's/a',
      to,
      of: 'requests',
      rate: 1,
      ended: 10,
      failed: 0,
      denied: 0,
      up: 0,
      down: 0,
      active: 0,
    },
    ...{
      identities: [],
      via: [],
      services: [],
      retries: 0,
      codes: {},
      flags: {},
      deniedBy: {},
      allowedBy: {},
    },
    ...more,
  });
  const edges = [
    edge('s/b', { rate: 5, success: 0.5, p50: 1, p95: 20, p99: 30, mtls: 1 }),
    edge('s/c', { rate: 2, failed: 3, p95: 100, mtls: 0 }),
    edge('s/d', { rate: 1, denied: 10 }),
  ];

  it('put first what is asked for', () => {
    const first = (by: Parameters<typeof sortedEdges>[1]): string | undefined =>
      sortedEdges(edges, by)[0]?.to;
    assert.deepEqual(
      [first('rate'), first('failed'), first('denied'), first('p95')],
      ['s/b', 's/c', 's/d', 's/c'],
    );
  });

  it('are a table, and pictures for others to draw', () => {
    const [, line = ''] = edgeLines(edges, NO_COLOURS);
    assert.match(line, /^s\/a +s\/b +mTLS +req +5\.0 +50\.0 % +1\.0 ms +20 ms +30 ms +0 +0 B +0 B$/);
    const graph = { at: 0, windowMs: 1, nodes: [], edges };
    assert.deepEqual(dotLines(graph).slice(2, 5), [
      '  "s/a" -> "s/b" [label="5.0/s"];',
      '  "s/a" -> "s/c" [label="2.0/s", color=orange];',
      '  "s/a" -> "s/d" [label="1.0/s, 10 denied", style=dashed, color=red];',
    ]);
    assert.deepEqual(mermaidLines(graph).slice(0, 2), ['graph LR', '  n0["s/a"]']);
    assert.match(mermaidLines(graph).join('\n'), /n0 -\.->\|"1\.0\/s, 10 denied"\| n3/);
  });
});
