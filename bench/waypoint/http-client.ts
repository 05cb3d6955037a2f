import type { Duplex } from 'node:stream';
import { SERVICE_HOST } from './plan.ts';

const HEAD_END = '\r\n\r\n';
const CHUNKED_END = '0\r\n\r\n';

/** One kept HTTP/1.1 connection that asks one thing at a time; as little work as a client can have. */
export class HttpClient {
  readonly #stream: Duplex;
  #received = '';
  #waiting: { resolve: (status: number) => void; reject: (error: Error) => void } | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    const lost = (error?: Error): void => this.#waiting?.reject(error ?? new Error('the connection closed'));
    stream.on('error', lost);
    stream.on('close', () => lost());
  }

  /** @returns the response's status, once its body is there. @throws Error when the connection ends before */
  get(path: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#stream.write(`GET ${path} HTTP/1.1\r\nhost: ${SERVICE_HOST}\r\nuser-agent: bench\r\n\r\n`);
    });
  }

  close(): void {
    this.#stream.destroy();
  }

  #read(chunk: Buffer): void {
    this.#received += chunk.toString('latin1');
    const headEnd = this.#received.indexOf(HEAD_END);
    if (headEnd < 0) return;
    const head = this.#received.slice(0, headEnd);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    const complete =
      length === undefined
        ? this.#received.endsWith(CHUNKED_END)
        : this.#received.length >= headEnd + HEAD_END.length + Number(length);
    if (!complete) return;
    this.#received = '';
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve(Number(head.slice(9, 12)));
  }
}
