import type { Duplex } from 'node:stream';
import { readMessage, type Message } from './recording-backend.ts';

export interface RawAnswer {
  readonly status: number;
  readonly message: Message;
}

/** A client of HTTP/1.1 that sends bytes as they are, and reads answers by the letter. */
export class RawClient {
  readonly #stream: Duplex;
  #bytes = '';
  #ended = false;
  #wake: () => void = () => undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => {
      this.#bytes += chunk.toString('latin1');
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

  /** Characters are bytes. */
  send(text: string): void {
    if (!this.#stream.destroyed && this.#stream.writable) this.#stream.write(Buffer.from(text, 'latin1'));
  }

  /** Sends half of the text, and the rest once that was handed over: a parser must not depend on how bytes arrive. */
  async sendInPieces(text: string): Promise<void> {
    for (const byte of text) {
      this.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /**
   * The next answer, interim ones too.
   *
   * @returns undefined when the connection ends before one
   * @throws Error when what came is not HTTP/1.1
   */
  async answer(bodiless = false): Promise<RawAnswer | undefined> {
    for (;;) {
      const message = readMessage(this.#bytes, bodiless);
      if (message === 'garbage') throw new Error(`no answer of HTTP/1.1: ${JSON.stringify(this.#bytes)}`);
      if (message !== 'more') {
        this.#bytes = this.#bytes.slice(message.length);
        return { status: Number(message.line.split(' ')[1]), message };
      }
      if (this.#ended) return undefined;
      await this.#more();
    }
  }

  /** Waits until the server closed the connection. @returns what came that was not yet read */
  async end(): Promise<string> {
    while (!this.#ended) await this.#more();
    return this.#bytes;
  }

  get unread(): string {
    return this.#bytes;
  }

  close(): void {
    this.#stream.destroy();
  }

  #more(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}
