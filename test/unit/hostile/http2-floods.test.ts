import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { EchoStream } from '../../support/hostile/echo-stream.ts';
import { FLOODS, u32, type Flood } from '../../support/hostile/floods.ts';
import { SURFACES, type Surface } from '../../support/hostile/surfaces.ts';
import {
  frame,
  GOAWAY,
  HEADERS,
  PREFACE,
  RawHttp2,
  RST_STREAM,
  headerBlock,
} from '../waypoint/support/raw-http2.ts';
import { eventually } from '../ztunnel/support/streams.ts';

const ENHANCE_YOUR_CALM = 11;
const PIECES_AT_ONCE = 2_000;
/** Far above what is measured (some ten), far below what a flood would take that is held in memory. */
const MAX_GROWTH_MB = 150;

for (const [where, start] of Object.entries(SURFACES)) {
  describe(`floods of one peer: ${where}`, () => {
    let surface: Surface;
    let innocent: EchoStream;

    beforeEach(async () => {
      surface = await start();
      innocent = await surface.innocent();
      await innocent.turn();
    });
    afterEach(() => surface.close());

    for (const flood of FLOODS) {
      it(`${flood.name}: memory stays, and another's stream goes on`, async () => {
        const before = process.memoryUsage();
        const client = await surface.open();
        const ended = new RawHttp2(client);
        await send(client, flood);
        await innocent.turn(100_000);
        ended.close();
        await eventually(() => surface.connections() === 1);
        innocent.check();
        const { heapUsed, external } = process.memoryUsage();
        const grownMb = (heapUsed + external - before.heapUsed - before.external) / 2 ** 20;
        assert.ok(grownMb < MAX_GROWTH_MB, `${grownMb} MB more`);
        // The peer is served again, or another one is: nothing is left in a state that only a restart ends.
        const next = await surface.innocent();
        await next.turn();
      });
    }

    it('heads that grow when they are read end the connection, and the next ones of that peer', async () => {
      const flood = FLOODS.find(({ name }) => name.includes('HPACK'));
      assert.ok(flood !== undefined);
      while ((surface.refusals()['too-many-resets'] ?? 0) === 0) {
        const raw = new RawHttp2(await surface.open());
        raw.send(flood.first(surface.fields));
        for (let n = 0; !raw.ended; await sleep(10))
          for (let i = 0; i < 100 && raw.send(flood.piece(n, surface.fields)); i += 1) n += 1;
        // It may be lost on its way, where the kernel answers with a reset what is still being sent.
        const goaway = raw.frames.find(({ type }) => type === GOAWAY);
        assert.equal(goaway?.payload.readUInt32BE(4) ?? ENHANCE_YOUR_CALM, ENHANCE_YOUR_CALM);
        raw.close();
      }
      assert.ok((surface.refusals()['too-many-bad-heads'] ?? 0) > 0);
      await innocent.turn(100_000);
      innocent.check();
    });

    it('500 streams a second that are aborted hurt no stream beside them, not even one of the same connection', async () => {
      const client = await surface.open();
      const raw = new RawHttp2(client);
      raw.send(Buffer.concat([PREFACE, open(1)]));
      assert.equal(await raw.outcome(1), 'status 200');
      let id = 3;
      for (let tenth = 0; tenth < 20; tenth += 1) {
        for (let i = 0; i < 50; i += 1, id += 2)
          raw.send(Buffer.concat([open(id), frame(RST_STREAM, 0, id, u32(8))]));
        await innocent.turn(10_000);
        await sleep(100);
      }
      raw.send(open(id));
      assert.equal(await raw.outcome(id), 'status 200', 'the connection lives on');
      assert.ok(!raw.ended);
      raw.close();
      innocent.check();
      assert.ok(innocent.bytes >= 201_000);
    });

    const open = (id: number): Buffer => frame(HEADERS, surface.flags, id, headerBlock(surface.fields));

    async function send(client: Duplex, flood: Flood): Promise<void> {
      client.write(flood.first(surface.fields));
      for (let n = 0; n < flood.pieces && !client.destroyed && client.writable;) {
        const pieces: Buffer[] = [];
        for (let i = 0; i < PIECES_AT_ONCE && n < flood.pieces; i += 1)
          pieces.push(flood.piece(n++, surface.fields));
        // What the server does not read waits here, and is not sent.
        if (!client.write(Buffer.concat(pieces)))
          await Promise.race([
            new Promise((resolve) => client.once('drain', resolve)),
            ended(client),
            sleep(500),
          ]);
        await innocent.turn();
      }
    }
  });
}

function ended(stream: Duplex): Promise<void> {
  return new Promise((resolve) => stream.once('close', () => resolve()));
}
