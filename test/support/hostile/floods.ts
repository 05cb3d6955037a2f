import {
  CONTINUATION,
  DATA,
  frame,
  headerBlock,
  HEADERS,
  PING,
  PREFACE,
  RST_STREAM,
  SETTINGS,
} from '../../unit/waypoint/support/raw-http2.ts';

export const PRIORITY = 2;
export const PUSH_PROMISE = 5;
export const WINDOW_UPDATE = 8;
const END_STREAM = 1;
export const END_HEADERS = 4;

/** The head with which an attacker opens a stream: a CONNECT for a tunnel, a GET for what is within one. */
export type Fields = readonly (readonly [string, string])[];

export function connectFields(authority: string): Fields {
  return [
    [':method', 'CONNECT'],
    [':authority', authority],
  ];
}

export const GET_FIELDS: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'web'],
];

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32BE(value >>> 0, 4 * i));
  return bytes;
}

/** Fields put into HPACK's dynamic table, each in one byte from then on (RFC 7541 section 6.2.1). */
export class Indexed {
  readonly first: Buffer;
  readonly again: Buffer;

  constructor(fields: Fields) {
    this.first = Buffer.concat(
      fields.map((field) => Buffer.concat([Buffer.of(0x40), headerBlock([field]).subarray(1)])),
    );
    // The newest entry is number 62.
    this.again = Buffer.from(fields.map((_, i) => 0x80 + 62 + (fields.length - 1 - i)));
  }
}

/** A flood: what is sent first, and then a piece again and again, as often as it takes or is let. */
export interface Flood {
  readonly name: string;
  readonly first: (fields: Fields) => Buffer;
  /** @param n counts the pieces */
  readonly piece: (n: number, fields: Fields) => Buffer;
  readonly pieces: number;
}

const open = (fields: Fields): Buffer =>
  Buffer.concat([PREFACE, frame(HEADERS, END_HEADERS, 1, new Indexed(fields).first)]);
const again = (fields: Fields, id: number, flags = END_HEADERS): Buffer =>
  frame(HEADERS, flags, id, new Indexed(fields).again);
const settings = frame(SETTINGS, 0, 0, Buffer.concat([Buffer.of(0, 4), u32(65_535)]));

export const FLOODS: readonly Flood[] = [
  {
    name: 'streams that are reset at once (rapid reset)',
    first: open,
    piece: (n, fields) => Buffer.concat([again(fields, 3 + 2 * n), frame(RST_STREAM, 0, 3 + 2 * n, u32(8))]),
    pieces: 30_000,
  },
  {
    name: 'streams that make the server reset them (window of nothing)',
    first: open,
    piece: (n, fields) =>
      Buffer.concat([again(fields, 3 + 2 * n), frame(WINDOW_UPDATE, 0, 3 + 2 * n, u32(0))]),
    pieces: 30_000,
  },
  {
    name: 'streams beyond the limit',
    first: open,
    piece: (n, fields) => again(fields, 3 + 2 * n),
    pieces: 30_000,
  },
  { name: 'PING', first: open, piece: () => frame(PING, 0, 0, Buffer.alloc(8)), pieces: 200_000 },
  { name: 'SETTINGS', first: open, piece: () => settings, pieces: 100_000 },
  { name: 'empty DATA', first: open, piece: () => frame(DATA, 0, 1, Buffer.alloc(0)), pieces: 200_000 },
  {
    name: 'DATA of one byte, padded',
    first: open,
    piece: () => frame(DATA, 8, 1, Buffer.concat([Buffer.of(200), Buffer.alloc(201)])),
    pieces: 20_000,
  },
  { name: 'WINDOW_UPDATE', first: open, piece: () => frame(WINDOW_UPDATE, 0, 1, u32(1)), pieces: 200_000 },
  {
    name: 'PRIORITY',
    first: open,
    piece: (n) => frame(PRIORITY, 0, 3 + 2 * (n % 1_000_000), u32(0, 0).subarray(0, 5)),
    pieces: 200_000,
  },
  {
    name: 'frames of an unknown type',
    first: open,
    piece: () => frame(0xee, 0, 0, Buffer.alloc(64)),
    pieces: 100_000,
  },
  {
    name: 'CONTINUATION without an end',
    first: (fields) => Buffer.concat([open(fields), frame(HEADERS, 0, 3, new Indexed(fields).again)]),
    piece: () => frame(CONTINUATION, 0, 3, headerBlock([['x-more', 'a'.repeat(4_000)]])),
    pieces: 20_000,
  },
  {
    name: 'CONTINUATION, empty, without an end',
    first: (fields) => Buffer.concat([open(fields), frame(HEADERS, 0, 3, new Indexed(fields).again)]),
    piece: () => frame(CONTINUATION, 0, 3, Buffer.alloc(0)),
    pieces: 200_000,
  },
  {
    name: 'header lists that grow when they are read (HPACK bomb)',
    first: (fields) =>
      Buffer.concat([
        open(fields),
        frame(HEADERS, 5, 3, new Indexed([...fields, ['x-bomb', 'b'.repeat(3_000)]]).first),
      ]),
    piece: (n) => frame(HEADERS, END_STREAM | END_HEADERS, 5 + 2 * n, Buffer.alloc(16_000, 0xbe)),
    pieces: 300,
  },
  {
    name: 'requests that are complete, one after the other',
    first: open,
    piece: (n, fields) => again(fields, 3 + 2 * n, END_STREAM | END_HEADERS),
    pieces: 30_000,
  },
];
