import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { EchoStream } from '../../support/hostile/echo-stream.ts';
import { SURFACES, type Surface } from '../../support/hostile/surfaces.ts';
import {
  DATA,
  frame,
  HEADERS,
  headerBlock,
  PREFACE,
  RawHttp2,
  SETTINGS,
} from '../waypoint/support/raw-http2.ts';

const ACKNOWLEDGED = frame(SETTINGS, 1, 0, Buffer.alloc(0));
const FRAME_SIZE_ERROR = 6;
const PROTOCOL_ERROR = 1;

/** What the limits' documents say of HTTP/2, as a client sees it. */
for (const [where, most, largest] of [
  ['ztunnel, HBONE', 200, 1024 * 1024],
  ['waypoint, HBONE', 200, 1024 * 1024],
  ['waypoint, within a tunnel', 250, 16 * 1024],
] as const) {
  describe(`limits of HTTP/2: ${where}`, () => {
    let surface: Surface;
    let innocent: EchoStream;
    let raw: RawHttp2;

    beforeEach(async () => {
      const start = SURFACES[where];
      assert.ok(start !== undefined);
      surface = await start();
      innocent = await surface.innocent();
      raw = new RawHttp2(await surface.open());
      raw.send(PREFACE);
    });
    afterEach(async () => {
      raw.close();
      await innocent.turn();
      innocent.check();
      await surface.close();
    });

    /** Without END_STREAM: each stays open. */
    const open = (i: number): Buffer => frame(HEADERS, 4, 1 + 2 * i, headerBlock(surface.fields));

    it(`${most} streams at a time: one more is refused to a client that did not know, and ends one that did`, async () => {
      raw.send(Buffer.concat(Array.from({ length: most }, (_, i) => open(i))));
      if (surface.flags === 4) await raw.outcome(1 + 2 * (most - 1));
      raw.send(open(most));
      assert.equal(await raw.outcome(1 + 2 * most), 'reset 7');
      raw.send(ACKNOWLEDGED);
      raw.send(open(most + 1));
      assert.equal(await raw.outcome(3 + 2 * most), `goaway ${PROTOCOL_ERROR}`);
    });

    it(`frames of ${largest} bytes: a larger one ends the connection`, async () => {
      raw.send(Buffer.concat([ACKNOWLEDGED, open(0), frame(DATA, 0, 1, Buffer.alloc(largest + 1))]));
      await raw.until(() => raw.frames.find(({ type }) => type === 7));
      const goaway = raw.frames.find(({ type }) => type === 7);
      assert.equal(goaway?.payload.readUInt32BE(4) ?? FRAME_SIZE_ERROR, FRAME_SIZE_ERROR);
    });
  });
}
