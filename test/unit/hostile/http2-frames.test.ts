import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'mocha';
import type { EchoStream } from '../../support/hostile/echo-stream.ts';
import { MALFORMED } from '../../support/hostile/malformed.ts';
import { SURFACES, type Surface } from '../../support/hostile/surfaces.ts';
import {
  DATA,
  frame,
  GOAWAY,
  HEADERS,
  headerBlock,
  PING,
  PREFACE,
  RawHttp2,
  RST_STREAM,
} from '../waypoint/support/raw-http2.ts';
import { eventually } from '../ztunnel/support/streams.ts';

const MARK = Buffer.from('in order');

for (const [where, start] of Object.entries(SURFACES)) {
  describe(`malformed HTTP/2: ${where}`, () => {
    let surface: Surface;
    let innocent: EchoStream;
    let raw: RawHttp2 | undefined;

    before(async () => {
      surface = await start();
      innocent = await surface.innocent();
    });
    after(() => surface.close());

    afterEach(() => raw?.close());

    for (const { name, bytes, ends } of MALFORMED) {
      // Within a tunnel the first bytes decide what is spoken, and these are not HTTP/2.
      if (where === 'waypoint, within a tunnel' && name.startsWith('a preface')) continue;
      it(`${ends === 'nothing' ? 'passes over' : `ends the ${ends} for`} ${name}`, async () => {
        raw = new RawHttp2(await surface.open());
        const { frames } = raw;
        raw.send(bytes(surface.fields, surface.flags));
        // Answered only by one that lives and has read all that came before.
        if (ends !== 'connection') raw.send(frame(PING, 0, 0, MARK));
        const came = await raw.until(() => {
          const over = frames.find(({ type }) => type === GOAWAY);
          if (over !== undefined) return 'goaway';
          if (
            ends !== 'connection' &&
            frames.some(({ type, payload }) => type === PING && payload.equals(MARK))
          )
            return frames.some(({ type }) => type === RST_STREAM) ? 'reset' : 'lives';
          return undefined;
        });
        const allowed = {
          connection: ['goaway', 'closed'],
          stream: ['goaway', 'closed', 'reset'],
          nothing: ['lives'],
        };
        assert.ok(allowed[ends].includes(came ?? 'closed'), `it ${came ?? 'closed'}`);
        raw.close();
        await innocent.turn();
        innocent.check();
        await eventually(() => surface.connections() === 1);
      });
    }

    for (const how of ['its end', 'a reset'] as const) {
      it(`holds nothing after a connection that breaks off at any byte, by ${how}`, async () => {
        const whole = Buffer.concat([
          PREFACE,
          frame(HEADERS, surface.flags, 1, headerBlock(surface.fields)),
          ...(surface.flags === 4 ? [frame(DATA, 1, 1, Buffer.from('abc'))] : []),
        ]);
        for (let at = 0; at < whole.length; at += 1) {
          const stream = await surface.open();
          stream.on('error', () => undefined);
          stream.resume();
          if (how === 'its end') stream.end(whole.subarray(0, at));
          else {
            await new Promise<void>((resolve) => stream.write(whole.subarray(0, at), () => resolve()));
            stream.destroy();
          }
        }
        await eventually(() => surface.connections() === 1);
        await innocent.turn();
        innocent.check();
      });
    }
  });
}
