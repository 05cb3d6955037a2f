import assert from 'node:assert/strict';
import { PassThrough, Readable, Writable } from 'node:stream';
import { describe, it } from 'mocha';
import type { UpstreamAttempt } from '../../../../waypoint/http/exchange.ts';
import { RequestBody } from '../../../../waypoint/http/request-body.ts';
import { headers } from '../support/exchanges.ts';
import { eventually, turns } from '../support/streams.ts';

/** An attempt that keeps what it got. */
class Taker extends Writable implements UpstreamAttempt {
  readonly body = this;
  readonly response = new Promise<never>(() => undefined);
  got = '';
  whole = false;

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.got += chunk.toString();
    setImmediate(callback);
  }

  endBody(): void {
    this.whole = true;
    this.end();
  }

  abort(): void {
    this.destroy();
  }

  complete(): void {
    if (!this.writableFinished) this.abort();
  }
}

const bodyOf = (source: Readable, limit: number): RequestBody =>
  new RequestBody(
    source,
    () => headers(),
    limit,
    () => undefined,
  );

describe('waypoint: the body of a request between attempts', () => {
  it('waits between two attempts, however large it is and however long that takes', async () => {
    const text = 'x'.repeat(1_000);
    const source = Readable.from(
      (async function* () {
        for (let i = 0; i < 64; i += 1) {
          await turns(1);
          yield Buffer.from(text);
        }
      })(),
      { objectMode: false, highWaterMark: 1_000 },
    );
    const body = bodyOf(source, 10_000);
    const first = new Taker();
    body.sendTo(first);
    await eventually(() => first.got.length >= 2_000);
    first.abort();
    body.detach();
    await turns(200);
    assert.ok(body.replayable, 'nothing was read that nobody keeps');
    const second = new Taker();
    body.sendTo(second);
    await eventually(() => second.writableFinished);
    assert.equal(second.got.length, 64_000, 'the second gets all of it');
  });

  it('is not read on when its attempt breaks off, until it is known whether there is another', async () => {
    const source = new PassThrough();
    const body = bodyOf(source, 100);
    const first = new Taker();
    body.sendTo(first);
    source.write('a'.repeat(50));
    await eventually(() => first.got.length === 50);
    first.destroy();
    await turns();
    source.write('b'.repeat(80));
    await turns();
    assert.ok(body.replayable);
    body.detach();
    const second = new Taker();
    body.sendTo(second);
    source.end();
    await eventually(() => second.writableFinished);
    assert.equal(second.got, 'a'.repeat(50) + 'b'.repeat(80));
  });

  it('is read and dropped once an answer is final and the endpoint wants no more', async () => {
    for (const closedFirst of [true, false]) {
      const source = new PassThrough();
      const body = bodyOf(source, 10);
      const attempt = new Taker();
      body.sendTo(attempt);
      if (closedFirst) attempt.destroy();
      await turns();
      body.commit();
      attempt.destroy();
      source.write('x'.repeat(100_000));
      source.end();
      await eventually(() => body.ended);
    }
  });
});
