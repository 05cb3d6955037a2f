import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';

/** A long stream of somebody who does nothing wrong: what it sends must come back, byte by byte, whatever others do. */
export class EchoStream {
  readonly #stream: Duplex;
  readonly #sent = createHash('sha256');
  readonly #back = createHash('sha256');
  #out = 0;
  #in = 0;
  #closed = false;
  #wake: () => void = () => undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => {
      this.#back.update(chunk);
      this.#in += chunk.length;
      this.#wake();
    });
    stream.once('close', () => {
      this.#closed = true;
      this.#wake();
    });
    stream.resume();
  }

  /** Bytes that went to the other end and back. */
  get bytes(): number {
    return this.#in;
  }

  /** Sends so many bytes and waits until they are back. @throws Error when the stream is cut */
  async turn(bytes = 1_000): Promise<void> {
    const chunk = Buffer.alloc(bytes, this.#out & 0xff);
    chunk.writeUInt32BE(this.#out >>> 0, 0);
    this.#sent.update(chunk);
    this.#out += bytes;
    this.#stream.write(chunk);
    while (this.#in < this.#out) {
      if (this.#closed) throw new Error(`cut after ${this.#in} of ${this.#out} bytes`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** @throws Error when other bytes came back than were sent */
  check(): void {
    if (this.#closed) throw new Error('the stream was cut');
    if (this.#in !== this.#out || this.#sent.copy().digest('hex') !== this.#back.copy().digest('hex'))
      throw new Error(`other bytes came back: ${this.#in} of ${this.#out}`);
  }
}
