import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { beforeEach, describe, it } from 'mocha';
import { RequestBody } from '../../../../waypoint/http/request-body.ts';
import { KeepingAttempt } from '../support/attempts.ts';
import { headers } from '../support/exchanges.ts';
import { eventually, turns } from '../support/streams.ts';

describe('waypoint/http/request-body', () => {
  let source: PassThrough;
  let seen: number;

  beforeEach(() => {
    source = new PassThrough({ highWaterMark: 4 });
    seen = 0;
  });

  const bodyOf = (limit: number) =>
    new RequestBody(
      source,
      () => headers({ 'x-sum': '7' }),
      limit,
      (chunk) => (seen += chunk.length),
    );

  it('reads nothing before there is somebody who takes it', async () => {
    const body = bodyOf(100);
    source.write('ab');
    await turns();
    assert.equal(seen, 0);
    const attempt = new KeepingAttempt();
    body.sendTo(attempt);
    source.end('cd');
    await eventually(() => attempt.trailers);
    assert.equal(attempt.text, 'abcd');
    assert.deepEqual({ ...attempt.trailers }, { 'x-sum': '7' });
    assert.equal(seen, 4);
    assert.equal(body.ended, true);
  });

  it('ends an attempt that begins when an empty body is over', async () => {
    const body = bodyOf(100);
    source.end();
    source.resume();
    await eventually(() => source.readableEnded);
    const attempt = new KeepingAttempt();
    body.sendTo(attempt);
    assert.deepEqual({ ...attempt.trailers }, { 'x-sum': '7' });
    assert.equal(await body.whole().then((bytes) => bytes?.length), 0);
  });

  it('sends all of it to another attempt from the start, and no more to the former', async () => {
    const body = bodyOf(100);
    const first = new KeepingAttempt();
    body.sendTo(first);
    source.write('abc');
    await eventually(() => first.text === 'abc');
    body.detach();
    const second = new KeepingAttempt();
    body.sendTo(second);
    source.end('def');
    await eventually(() => second.trailers);
    assert.equal(second.text, 'abcdef');
    assert.equal(first.text, 'abc');
    assert.equal(first.trailers, undefined);
    assert.equal(body.replayable, true);
  });

  it('sends it once more when it had ended before', async () => {
    const body = bodyOf(100);
    const first = new KeepingAttempt();
    body.sendTo(first);
    source.end('abc');
    await eventually(() => first.trailers);
    const second = new KeepingAttempt();
    body.sendTo(second);
    await eventually(() => second.trailers);
    assert.equal(second.text, 'abc');
    assert.equal(seen, 3);
  });

  it('is not replayable beyond the limit, exactly', async () => {
    for (const [text, replayable] of [
      ['abcd', true],
      ['abcde', false],
    ] as const) {
      source = new PassThrough();
      const body = bodyOf(4);
      const attempt = new KeepingAttempt();
      body.sendTo(attempt);
      source.end(text);
      await eventually(() => attempt.trailers);
      assert.equal(attempt.text, text);
      assert.equal(body.replayable, replayable);
      assert.equal((await body.whole())?.toString(), replayable ? text : undefined);
    }
  });

  it('aborts an attempt that would get a body without its beginning', async () => {
    const body = bodyOf(2);
    const first = new KeepingAttempt();
    body.sendTo(first);
    source.write('abc');
    await eventually(() => first.text === 'abc');
    body.detach();
    const second = new KeepingAttempt();
    body.sendTo(second);
    source.end('def');
    await turns();
    assert.equal(second.aborted, true);
    assert.equal(second.text, '');
  });

  it('stays replayable between two attempts, however much the client sends', async () => {
    const body = bodyOf(8);
    const first = new KeepingAttempt();
    body.sendTo(first);
    source.write('abc');
    await eventually(() => first.text === 'abc');
    body.detach();
    source.write('defghijk');
    await turns();
    assert.equal(body.replayable, true);
    const second = new KeepingAttempt();
    body.sendTo(second);
    source.end();
    await eventually(() => second.trailers);
    assert.equal(second.text, 'abcdefghijk');
  });

  it('reads no faster than the endpoint takes', async () => {
    const body = bodyOf(0);
    const attempt = new KeepingAttempt().hold();
    body.sendTo(attempt);
    let wrote = 0;
    // One byte at a time, until the source says that it is full; it never does when somebody reads on.
    while (wrote < 1_000 && source.write('x')) {
      wrote += 1;
      await turns(1);
    }
    assert.ok(seen <= 8, `${seen} bytes were read`);
    assert.ok(wrote < 20, `${wrote} bytes were taken`);
    attempt.release();
    source.end();
    await eventually(() => attempt.trailers);
    assert.equal(attempt.text.length, seen);
  });

  it('reads on, and drops, when the endpoint wants no more of it', async () => {
    const body = bodyOf(0);
    const attempt = new KeepingAttempt().hold();
    body.sendTo(attempt);
    source.write('abcdefgh');
    await eventually(() => source.isPaused());
    attempt.body.destroy();
    source.write('more');
    source.end();
    await eventually(() => body.ended);
    assert.equal(seen, 12);
  });

  it('drains: what is left is read and dropped, and nothing is whole', async () => {
    const body = bodyOf(100);
    const attempt = new KeepingAttempt();
    body.sendTo(attempt);
    source.write('abc');
    await eventually(() => attempt.text === 'abc');
    body.drain();
    source.end('def');
    await eventually(() => body.ended);
    assert.equal(attempt.text, 'abc');
    assert.equal(await body.whole(), undefined);
    assert.equal(body.replayable, false);
  });

  it('drains what nobody ever took', async () => {
    const body = bodyOf(100);
    body.drain();
    source.end('abc');
    await eventually(() => source.readableEnded);
    assert.equal(await body.whole(), undefined);
  });

  it('is not whole when the client breaks off', async () => {
    const body = bodyOf(100);
    const attempt = new KeepingAttempt();
    body.sendTo(attempt);
    source.write('abc');
    await eventually(() => attempt.text === 'abc');
    source.destroy();
    assert.equal(await body.whole(), undefined);
    assert.equal(attempt.trailers, undefined);
  });
});
