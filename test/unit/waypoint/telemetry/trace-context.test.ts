import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Headers } from '../../../../lib/mesh/waypoint/request.ts';
import { RequestTrace } from '../../../../waypoint/telemetry/request-trace.ts';
import { newSpanId, newTraceId, sampledByRatio } from '../../../../lib/mesh/telemetry/trace-ids.ts';
import { extractContext } from '../../../../waypoint/telemetry/trace-context.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const ON = { enabled: true, ratio: 1 };

describe('waypoint/telemetry/trace-context', () => {
  it('reads traceparent by the letter of the recommendation', () => {
    const read = (traceparent: string) => extractContext(headersOf({ traceparent })).traceId;
    assert.equal(read(`00-${TRACE}-${SPAN}-01`), TRACE);
    assert.equal(read(`01-${TRACE}-${SPAN}-01-what-a-later-version-adds`), TRACE);
    for (const broken of [
      `ff-${TRACE}-${SPAN}-01`,
      `00-${TRACE}-${SPAN}-01-more`,
      `00-${TRACE.toUpperCase()}-${SPAN}-01`,
      `00-${'0'.repeat(32)}-${SPAN}-01`,
      `00-${TRACE}-${'0'.repeat(16)}-01`,
      `00-${TRACE}-${SPAN}-1`,
      `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`,
      ` 00-${TRACE}-${SPAN}-01`,
      `00-${TRACE}-${SPAN}-01\n`,
      `01-${TRACE}-${SPAN}-01-${'x'.repeat(10_000)}`,
      '',
    ]) {
      assert.equal(read(broken), undefined, broken);
    }
  });

  it('keeps the decision of the client in every format', () => {
    const cases: [Headers, boolean | undefined][] = [
      [{ traceparent: `00-${TRACE}-${SPAN}-00` }, false],
      [{ traceparent: `00-${TRACE}-${SPAN}-01` }, true],
      [{ traceparent: `00-${TRACE}-${SPAN}-02` }, false],
      [{ b3: `${TRACE}-${SPAN}-1` }, true],
      [{ b3: `${TRACE}-${SPAN}-0` }, false],
      [{ b3: `${TRACE}-${SPAN}` }, undefined],
      [{ b3: `${TRACE}-${SPAN}-d-${SPAN}` }, true],
      [{ b3: '0' }, false],
      [{ 'x-b3-traceid': TRACE, 'x-b3-spanid': SPAN, 'x-b3-sampled': '1' }, true],
      [{ 'x-b3-traceid': TRACE, 'x-b3-spanid': SPAN, 'x-b3-sampled': 'false' }, false],
      [{ 'x-b3-traceid': TRACE, 'x-b3-spanid': SPAN }, undefined],
      [{ 'x-b3-traceid': TRACE, 'x-b3-spanid': SPAN, 'x-b3-flags': '1' }, true],
      [{ 'x-b3-sampled': '0' }, false],
      [{}, undefined],
    ];
    for (const [headers, sampled] of cases) {
      assert.equal(extractContext(headersOf(headers)).sampled, sampled, JSON.stringify(headers));
      if (sampled !== undefined) {
        for (const ratio of [0, 1]) {
          const trace = new RequestTrace(headersOf(headers), { enabled: true, ratio });
          assert.equal(trace.recorded, sampled, JSON.stringify(headers));
        }
      }
    }
  });

  it('writes what the client used, with the span of this try as the parent', () => {
    const w3c = propagate({ traceparent: `00-${TRACE}-${SPAN}-03`, tracestate: 'a=1,b=2' });
    assert.deepEqual(w3c.sent, { traceparent: `00-${TRACE}-${w3c.spanId}-03`, tracestate: 'a=1,b=2' });
    const single = propagate({ b3: `${TRACE}-${SPAN}-1-${SPAN}` });
    assert.deepEqual(single.sent, { b3: `${TRACE}-${single.spanId}-1` });
    const multi = propagate({
      'x-b3-traceid': 'a3ce929d0e0e4736',
      'x-b3-spanid': SPAN,
      'x-b3-parentspanid': SPAN,
      'x-b3-flags': '1',
    });
    assert.deepEqual(multi.sent, {
      'x-b3-traceid': 'a3ce929d0e0e4736',
      'x-b3-spanid': multi.spanId,
      'x-b3-flags': '1',
    });
    const both = propagate({ traceparent: `00-${TRACE}-${SPAN}-01`, b3: `${'1'.repeat(32)}-${SPAN}-1` });
    assert.deepEqual(both.sent, {
      traceparent: `00-${TRACE}-${both.spanId}-01`,
      b3: `${TRACE}-${both.spanId}-1`,
    });
    const none = propagate({ accept: 'x' });
    assert.match(String(none.sent['traceparent']), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  });

  it('takes over no tracestate without its traceparent, and none of absurd size', () => {
    const broken = propagate({ traceparent: 'nonsense', tracestate: 'a=1' });
    assert.equal(broken.sent['tracestate'], undefined);
    const huge = propagate({ traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: `a=${'x'.repeat(5_000)}` });
    assert.equal(huge.sent['tracestate'], undefined);
  });

  it('gives each try an id of its own, and leaves baggage alone', () => {
    const trace = new RequestTrace(headersOf({ baggage: 'k8s.namespace.name=admin' }), ON);
    const [one, two] = [headersOf({ baggage: 'x=1' }), headersOf({ baggage: 'x=1' })];
    trace.attempt(one, 0);
    trace.attempt(two, 0);
    assert.notEqual(one['traceparent'], two['traceparent']);
    assert.equal(one['baggage'], 'x=1');
  });

  it('passes on as it came what is not recorded, and tells its own decision', () => {
    const given = { b3: `${TRACE}-${SPAN}-0` };
    assert.deepEqual(propagate(given).sent, given);
    assert.deepEqual(propagate({ b3: '0' }).sent, { b3: '0' });
    const deferred = propagate({ b3: `${TRACE}-${SPAN}` }, { enabled: true, ratio: 0 });
    assert.deepEqual(deferred.sent, { b3: `${TRACE}-${SPAN}-0` });
    const fresh = propagate({}, { enabled: true, ratio: 0 });
    assert.match(String(fresh.sent['traceparent']), /-00$/);
    const off = { traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: 'a=1' };
    const untouched = propagate(off, { enabled: false, ratio: 1 });
    assert.deepEqual(untouched.sent, off);
    assert.equal(untouched.trace.traceId, TRACE, 'the log still shows the id');
    assert.deepEqual(propagate({}, { enabled: false, ratio: 1 }).sent, {});
  });

  it('samples by the trace id alone, about as often as asked', () => {
    assert.equal(sampledByRatio(TRACE, 0), false);
    assert.equal(sampledByRatio(TRACE, 1), true);
    // R = 0xce929d0e0e4736 of 56 bits: 0.807...; sampled from a ratio of 1 - 0.807 on.
    assert.equal(sampledByRatio(TRACE, 0.19), false);
    assert.equal(sampledByRatio(TRACE, 0.2), true);
    let sampled = 0;
    for (let i = 0; i < 20_000; i++) if (sampledByRatio(newTraceId(), 0.1)) sampled += 1;
    assert.ok(sampled > 1_600 && sampled < 2_400, String(sampled));
  });

  it('makes ids that are valid and do not repeat', () => {
    const ids = new Set<string>();
    for (let i = 0; i < 5_000; i++) {
      const id = newSpanId();
      assert.match(id, /^[0-9a-f]{16}$/);
      ids.add(id);
      assert.match(newTraceId(), /^[0-9a-f]{32}$/);
    }
    assert.equal(ids.size, 5_000);
  });
});

function headersOf(headers: Headers): Headers {
  return Object.assign(Object.create(null) as Headers, headers);
}

/** The headers that a try sends, and the id of its span. */
function propagate(headers: Headers, settings = ON) {
  const trace = new RequestTrace(headersOf(headers), settings);
  const sent = headersOf(headers);
  delete sent['accept'];
  const end = trace.attempt(sent, 1);
  end(
    {
      address: undefined,
      service: undefined,
      identity: undefined,
      status: 200,
      grpcStatus: undefined,
      error: undefined,
    },
    2,
  );
  return { trace, sent: { ...sent }, spanId: trace.attempts[0]?.spanId };
}
