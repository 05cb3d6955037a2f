import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { FaultSchema } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { FaultInjector } from '../../../../waypoint/resilience/fault.ts';
import { head, seededRandom } from './tools.ts';

const injector = (init: MessageInitShape<typeof FaultSchema>) =>
  new FaultInjector(create(FaultSchema, { abortGrpcStatus: -1, ...init }), seededRandom(3));

const NONE = {};

describe('waypoint/resilience/fault', () => {
  it('fault.delayPercent, fault.delay: delays that share of requests for so long', () => {
    const fault = injector({ delayPercent: 10, delay: 250 });
    const decisions = Array.from({ length: 20_000 }, () => fault.decide(head()));
    const delayed = decisions.filter((d) => d.delayMs !== undefined);
    assert.ok(Math.abs(delayed.length / 20_000 - 0.1) < 0.01, `${delayed.length}`);
    assert.deepEqual(delayed[0], { delayMs: 250 });
    assert.deepEqual(injector({ delayPercent: 0, delay: 250 }).decide(head()), NONE);
    assert.deepEqual(injector({ delayPercent: 100, delay: 250 }).decide(head()), { delayMs: 250 });
  });

  it('fault.abortPercent, fault.abortStatus: answers that share of requests', () => {
    const fault = injector({ abortPercent: 0.5, abortStatus: 418 });
    const aborted = Array.from({ length: 40_000 }, () => fault.decide(head())).filter(
      (d) => d.abort !== undefined,
    );
    assert.ok(aborted.length > 150 && aborted.length < 250, `${aborted.length} of 200 expected`);
    assert.deepEqual(aborted[0]?.abort, { kind: 'http', status: 418 });
  });

  it('fault.abortGrpcStatus: in place of the status for gRPC requests, only', () => {
    const both = injector({ abortPercent: 100, abortStatus: 503, abortGrpcStatus: 14 });
    assert.deepEqual(both.decide(head({}, { protocol: 'grpc' })).abort, { kind: 'grpc', grpcStatus: 14 });
    assert.deepEqual(both.decide(head()).abort, { kind: 'http', status: 503 });
    const grpcOnly = injector({ abortPercent: 100, abortGrpcStatus: 14 });
    assert.deepEqual(grpcOnly.decide(head()), NONE);
    const httpOnly = injector({ abortPercent: 100, abortStatus: 503 });
    assert.deepEqual(httpOnly.decide(head({}, { protocol: 'grpc' })).abort, { kind: 'http', status: 503 });
  });

  it('delay and abort are independent of each other', () => {
    const fault = injector({ delayPercent: 50, delay: 1, abortPercent: 50, abortStatus: 500 });
    const decisions = Array.from({ length: 10_000 }, () => fault.decide(head()));
    const both = decisions.filter((d) => d.delayMs !== undefined && d.abort !== undefined).length;
    assert.ok(Math.abs(both / 10_000 - 0.25) < 0.02, `${both}`);
  });

  it('fault.headers: only requests that have them all', () => {
    const fault = injector({
      abortPercent: 100,
      abortStatus: 500,
      headers: [
        { name: 'X-Test', how: { case: 'exact', value: 'yes' } },
        { name: 'x-user', how: { case: 'regex', value: 'qa-[0-9]+' } },
        { name: 'x-there', how: { case: undefined } },
      ],
    });
    const hit = (headers: Record<string, string>) => fault.decide(head(headers)).abort !== undefined;
    assert.equal(hit({ 'x-test': 'yes', 'x-user': 'qa-12', 'x-there': '' }), true);
    assert.equal(hit({ 'x-test': 'yes', 'x-user': 'qa-12x', 'x-there': '' }), false, 'the whole value');
    assert.equal(hit({ 'x-test': 'yess', 'x-user': 'qa-12', 'x-there': '' }), false);
    assert.equal(hit({ 'x-test': 'yes', 'x-user': 'qa-12' }), false);
    assert.equal(hit({}), false);
  });

  it('fault.headers: a regex that is not RE2 is refused by name', () => {
    const bad = () => injector({ headers: [{ name: 'a', how: { case: 'regex', value: '(?=x)' } }] });
    assert.throws(bad, { code: 'FAULT_REGEX', message: /fault\.headers\[0\].*"\(\?=x\)"/ });
  });
});
