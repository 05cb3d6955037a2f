import type { Duplex } from 'node:stream';

export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const CONTINUATION = 9;

/** One frame (RFC 9113 section 4.1). */
export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** The client's preface, with SETTINGS that say nothing. */
export const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1'),
  frame(SETTINGS, 0, 0, Buffer.alloc(0)),
]);

/** Fields as literals without indexing (RFC 7541 section 6.2.2), so that any byte can stand in them. */
export function headerBlock(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.of(0), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([integer(bytes.length, 7), bytes]);
}

/** RFC 7541 section 5.1. */
function integer(value: number, bits: number): Buffer {
  const most = 2 ** bits - 1;
  if (value < most) return Buffer.of(value);
  const bytes = [most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A client of HTTP/2 that sends any bytes, and looks at no more of the answers than a test needs. */
export class RawHttp2 {
  readonly frames: Frame[] = [];
  readonly #stream: Duplex;
  #bytes: Buffer = Buffer.alloc(0);
  #ended = false;
  #wake: () => void = () => undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    this.#ended = stream.destroyed || stream.readableEnded;
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#readFrames();
      this.#wake();
    });
    const ended = (): void => {
      this.#ended = true;
      this.#wake();
    };
    stream.once('end', ended);
    stream.once('close', ended);
    stream.resume();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** @returns whether more may be sent at once */
  send(bytes: Buffer): boolean {
    return this.#stream.writable && this.#stream.write(bytes);
  }

  /** Waits until a look finds something, frame by frame, or the connection is over. */
  async until<T>(look: () => T | undefined): Promise<T | undefined> {
    for (;;) {
      const found = look();
      if (found !== undefined || this.#ended) return found;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** How a stream came out: `status 400`, `reset 1`, `goaway 1` or `closed`. */
  async outcome(id: number): Promise<string> {
    const found = await this.until(() => {
      for (const { type, stream, payload } of this.frames) {
        if (type === GOAWAY) return `goaway ${payload.readUInt32BE(4)}`;
        if (stream !== id) continue;
        if (type === RST_STREAM) return `reset ${payload.readUInt32BE(0)}`;
        if (type === HEADERS) return `status ${statusOf(payload)}`;
      }
      return undefined;
    });
    return found ?? 'closed';
  }

  close(): void {
    this.#stream.destroy();
  }

  #readFrames(): void {
    while (this.#bytes.length >= 9) {
      const length = this.#bytes.readUIntBE(0, 3);
      if (this.#bytes.length < 9 + length) return;
      const [type = 0, flags = 0] = this.#bytes.subarray(3, 5);
      const stream = this.#bytes.readUInt32BE(5) & 0x7fffffff;
      this.frames.push({ type, flags, stream, payload: this.#bytes.subarray(9, 9 + length) });
      this.#bytes = this.#bytes.subarray(9 + length);
    }
  }
}

/** Of a header block as nghttp2 writes it: :status comes first, from the static table or as a literal. */
function statusOf(block: Buffer): number {
  const STATIC: Readonly<Record<number, number>> = {
    0x88: 200,
    0x89: 204,
    0x8a: 206,
    0x8b: 304,
    0x8c: 400,
    0x8d: 404,
    0x8e: 500,
  };
  const [first = 0, second = 0] = block;
  const known = STATIC[first];
  if (known !== undefined) return known;
  const plain = block.subarray(2, 2 + (second & 0x7f));
  if ((second & 0x80) === 0) return Number(plain.toString('latin1'));
  return Number(huffmanDigits(plain));
}

/** Digits only, in HPACK's code: 0 to 2 have 5 bits, 3 to 9 have 6. */
function huffmanDigits(bytes: Buffer): string {
  let bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  let text = '';
  while (bits.length >= 5 && text.length < 3) {
    const short = parseInt(bits.slice(0, 5), 2);
    if (short <= 2) {
      text += String(short);
      bits = bits.slice(5);
    } else {
      text += String(parseInt(bits.slice(0, 6), 2) - 0x19 + 3);
      bits = bits.slice(6);
    }
  }
  return text;
}
