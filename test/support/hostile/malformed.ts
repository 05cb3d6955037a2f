import {
  CONTINUATION,
  DATA,
  frame,
  GOAWAY,
  HEADERS,
  headerBlock,
  PING,
  PREFACE,
  RST_STREAM,
  SETTINGS,
} from '../../unit/waypoint/support/raw-http2.ts';
import { PRIORITY, PUSH_PROMISE, u32, WINDOW_UPDATE, type Fields } from './floods.ts';

/** What RFC 9113 and RFC 7541 do not allow, after a preface and, where it matters, one open stream. */
export interface Malformed {
  readonly name: string;
  readonly bytes: (fields: Fields, flags: number) => Buffer;
  /** `connection`: it must end. `stream`: at least the stream. `nothing`: to be passed over. */
  readonly ends: 'connection' | 'stream' | 'nothing';
}

const none = Buffer.alloc(0);
const setting = (id: number, value: number): Buffer => Buffer.concat([Buffer.of(0, id), u32(value)]);
const head = (fields: Fields, flags: number, id = 1): Buffer =>
  frame(HEADERS, flags, id, headerBlock(fields));
const after =
  (...frames: readonly Buffer[]) =>
  (fields: Fields, flags: number): Buffer =>
    Buffer.concat([PREFACE, head(fields, flags & ~1), ...frames]);
const alone =
  (...frames: readonly Buffer[]) =>
  (): Buffer =>
    Buffer.concat([PREFACE, ...frames]);
/** A length that the frame does not have. */
const lying = (bytes: Buffer, length: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy.writeUIntBE(length, 0, 3);
  return copy;
};

function cases(ends: Malformed['ends'], all: Readonly<Record<string, Malformed['bytes']>>): Malformed[] {
  return Object.entries(all).map(([name, bytes]) => ({ name, bytes, ends }));
}

export const MALFORMED: readonly Malformed[] = [
  ...cases('connection', {
    'a preface that is another protocol': () => Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'),
    'a preface with one wrong byte': () => Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r'),
    'no SETTINGS first': () => Buffer.concat([PREFACE.subarray(0, 24), frame(PING, 0, 0, Buffer.alloc(8))]),
    'DATA on stream 0': alone(frame(DATA, 0, 0, Buffer.of(1))),
    'HEADERS on stream 0': (fields) => Buffer.concat([PREFACE, frame(HEADERS, 4, 0, headerBlock(fields))]),
    'HEADERS on an even stream': (fields) =>
      Buffer.concat([PREFACE, frame(HEADERS, 4, 2, headerBlock(fields))]),
    'DATA on a stream that was never opened': alone(frame(DATA, 0, 9, Buffer.of(1))),
    'RST_STREAM on a stream that was never opened': alone(frame(RST_STREAM, 0, 9, u32(8))),
    'RST_STREAM on stream 0': alone(frame(RST_STREAM, 0, 0, u32(8))),
    'RST_STREAM of three bytes': after(frame(RST_STREAM, 0, 1, Buffer.alloc(3))),
    'WINDOW_UPDATE on a stream that was never opened': alone(frame(WINDOW_UPDATE, 0, 9, u32(1))),
    'WINDOW_UPDATE of nothing for the connection': alone(frame(WINDOW_UPDATE, 0, 0, u32(0))),
    'WINDOW_UPDATE of three bytes': alone(frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(3))),
    'a window beyond 2^31-1': alone(
      frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff)),
      frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff)),
    ),
    'SETTINGS of five bytes': alone(frame(SETTINGS, 0, 0, Buffer.alloc(5))),
    'SETTINGS on a stream': alone(frame(SETTINGS, 0, 1, none)),
    'an acknowledgement of SETTINGS with a payload': alone(frame(SETTINGS, 1, 0, setting(4, 1))),
    'a first window beyond 2^31-1': alone(frame(SETTINGS, 0, 0, setting(4, 0x80000000))),
    'frames of at most one byte': alone(frame(SETTINGS, 0, 0, setting(5, 1))),
    'ENABLE_PUSH of two': alone(frame(SETTINGS, 0, 0, setting(2, 2))),
    'PING of seven bytes': alone(frame(PING, 0, 0, Buffer.alloc(7))),
    'PING on a stream': alone(frame(PING, 0, 1, Buffer.alloc(8))),
    'GOAWAY on a stream': alone(frame(GOAWAY, 0, 1, u32(0, 0))),
    'GOAWAY of seven bytes': alone(frame(GOAWAY, 0, 0, Buffer.alloc(7))),
    'PUSH_PROMISE of a client': after(frame(PUSH_PROMISE, 4, 1, u32(2))),
    'CONTINUATION without HEADERS': after(frame(CONTINUATION, 4, 1, none)),
    'PING within a header block': (fields) =>
      Buffer.concat([PREFACE, frame(HEADERS, 0, 1, headerBlock(fields)), frame(PING, 0, 0, Buffer.alloc(8))]),
    'CONTINUATION of another stream': (fields) =>
      Buffer.concat([PREFACE, frame(HEADERS, 0, 1, headerBlock(fields)), frame(CONTINUATION, 4, 3, none)]),
    'DATA padded beyond its length': after(frame(DATA, 8, 1, Buffer.of(255, 1))),
    'DATA that is padded and empty': after(frame(DATA, 8, 1, none)),
    'HEADERS padded beyond their length': alone(frame(HEADERS, 0x0c, 1, Buffer.of(255, 0x82))),
    'a frame of 2^24-1 bytes': after(lying(frame(DATA, 0, 1, Buffer.alloc(16)), 0xffffff)),
    'a header block with an index that is not there': alone(
      frame(HEADERS, 5, 1, Buffer.of(0xff, 0xff, 0x7f)),
    ),
    'a header block with index 0': alone(frame(HEADERS, 5, 1, Buffer.of(0x80))),
    'a header block with a number without end': alone(frame(HEADERS, 5, 1, Buffer.alloc(64, 0xff))),
    'a header block that breaks off': alone(frame(HEADERS, 5, 1, Buffer.of(0x00, 0x7f))),
    'a text in HPACK’s code that holds the end sign': alone(
      frame(HEADERS, 5, 1, Buffer.of(0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00)),
    ),
    'a table larger than allowed': alone(frame(HEADERS, 5, 1, Buffer.of(0x3f, 0xff, 0xff, 0xff, 0x07))),
    'a table size in the middle of a block': (fields) =>
      Buffer.concat([PREFACE, frame(HEADERS, 5, 1, Buffer.concat([headerBlock(fields), Buffer.of(0x20)]))]),
  }),
  ...cases('stream', {
    'WINDOW_UPDATE of nothing for a stream': after(frame(WINDOW_UPDATE, 0, 1, u32(0))),
    'a header list beyond the limit': (fields) =>
      Buffer.concat([
        PREFACE,
        frame(HEADERS, 4, 1, headerBlock([...fields, ['x-a', 'a'.repeat(15_000)], ['x-b', 'b'.repeat(900)]])),
        ...Array.from({ length: 5 }, (_, i) =>
          frame(
            HEADERS,
            5,
            3 + 2 * i,
            Buffer.concat([
              headerBlock(fields),
              headerBlock(Array.from({ length: 900 }, () => ['x', '1'] as const)),
            ]),
          ),
        ),
      ]),
    'upper case in a field': (fields) =>
      Buffer.concat([PREFACE, frame(HEADERS, 5, 1, headerBlock([...fields, ['Connection', 'close']]))]),
    'a field of one connection': (fields) =>
      Buffer.concat([PREFACE, frame(HEADERS, 5, 1, headerBlock([...fields, ['connection', 'close']]))]),
    'no fields at all': alone(frame(HEADERS, 5, 1, none)),
    'a second head': (fields, flags) => Buffer.concat([PREFACE, head(fields, flags & ~1), head(fields, 4)]),
  }),
  ...cases('nothing', {
    'a frame of an unknown type': after(frame(0xee, 0xff, 1, Buffer.alloc(100))),
    'a setting that nobody knows': alone(frame(SETTINGS, 0, 0, setting(0xee, 1))),
    'PRIORITY of a stream that depends on itself': after(
      frame(PRIORITY, 0, 3, Buffer.concat([u32(3), Buffer.of(1)])),
    ),
    'a window of nothing for all streams': alone(frame(SETTINGS, 0, 0, setting(4, 0))),
    'the reserved bit of a stream’s number': after(frame(WINDOW_UPDATE, 0, 0x80000001, u32(1))),
  }),
];
