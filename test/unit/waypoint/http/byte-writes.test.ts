import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { takeTextsAsBytes } from '../../../../waypoint/http/byte-writes.ts';
import { readAll, StreamPairs } from '../support/streams.ts';

const HEAD = 'POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n';

describe('waypoint/http/byte-writes', () => {
  let pairs: StreamPairs;

  beforeEach(() => (pairs = new StreamPairs()));
  afterEach(() => pairs.close());

  it('carries a text and bytes that are written in one turn', async () => {
    const { near, far } = await pairs.http2();
    const stream = takeTextsAsBytes(near);
    stream.cork();
    stream.write(HEAD, 'latin1');
    stream.write(Buffer.from('abc'));
    stream.uncork();
    stream.end();
    assert.equal(await readAll(far), `${HEAD}abc`);
  });

  it('keeps encodings and tells when a text was written', async () => {
    const { near, far } = await pairs.http2();
    const stream = takeTextsAsBytes(near);
    await new Promise<void>((resolve) => stream.write('\xe9', 'latin1', () => resolve()));
    await new Promise<void>((resolve) => stream.write('a', () => resolve()));
    await new Promise<void>((resolve) => stream.write(Buffer.from('b'), () => resolve()));
    stream.end();
    const bytes: Buffer[] = [];
    far.on('data', (chunk: Buffer) => bytes.push(chunk));
    await readAll(far);
    assert.deepEqual([...Buffer.concat(bytes)], [0xe9, 0x61, 0x62]);
  });
});
