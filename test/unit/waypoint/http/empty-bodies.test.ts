import assert from 'node:assert/strict';
import { PassThrough, Readable } from 'node:stream';
import { describe, it } from 'mocha';
import type { Exchange, UpstreamAttempt, UpstreamResponse } from '../../../../waypoint/http/exchange.ts';
import { RequestBody } from '../../../../waypoint/http/request-body.ts';
import { relayBody } from '../../../../waypoint/http/response-relay.ts';

/** As an HTTP/2 stream without a byte of body: it has said `end` before anybody listened. */
async function ended(): Promise<Readable> {
  const stream = Readable.from([]);
  stream.resume();
  await new Promise((resolve) => stream.once('end', resolve));
  return stream;
}

describe('bodies that ended before they were read', () => {
  it('a request is ended at the endpoint, in every attempt', async () => {
    let ends = 0;
    const attempt = (): UpstreamAttempt => ({
      body: new PassThrough(),
      response: new Promise<UpstreamResponse>(() => undefined),
      endBody: () => (ends += 1),
      abort: () => undefined,
      complete: () => undefined,
    });
    const body = new RequestBody(
      await ended(),
      () => ({}),
      1024,
      () => undefined,
    );
    body.sendTo(attempt());
    assert.ok(body.ended);
    body.sendTo(attempt());
    assert.equal(ends, 2);
  });

  it('a response is ended for the client', async () => {
    let finished = 0;
    const exchange = {
      out: new PassThrough(),
      aborted: false,
      onAbort: () => undefined,
      reset: () => assert.fail('it is whole'),
      endWithTrailers: () => (finished += 1),
    } as unknown as Exchange;
    const response: UpstreamResponse = {
      status: 200,
      headers: {},
      body: await ended(),
      takeWhole: () => undefined,
      trailers: () => ({}),
      upgraded: undefined,
    };
    assert.equal(await relayBody(response, exchange, () => undefined), 'complete');
    assert.equal(finished, 1);
  });
});
