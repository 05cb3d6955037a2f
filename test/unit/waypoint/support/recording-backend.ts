import net, { type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';

/** One request as it stood on the wire. */
export interface Seen {
  /** For example `GET /x HTTP/1.1`. */
  readonly line: string;
  /** Header lines as they came, in order. */
  readonly headers: readonly string[];
  readonly body: string;
  /** Trailer lines as they came. */
  readonly trailers: readonly string[];
  /** Which of the connections, from 0. */
  readonly connection: number;
}

/** What the next request gets, as bytes; `undefined`: nothing, ever. */
export type Answer = (seen: Seen, socket: Socket) => string | Buffer | undefined;

const OK: Answer = ({ body }) => `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

/**
 * An HTTP/1.1 server that keeps the bytes of what it gets. It reads by the letter and forgives nothing: what it cannot
 * read, or what breaks off, is kept in {@link RecordingBackend.garbage}.
 */
export class RecordingBackend {
  readonly seen: Seen[] = [];
  /** What was no request, or broke off within one. */
  readonly garbage: string[] = [];
  connections = 0;
  answer: Answer = OK;
  readonly #server: net.Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#server = net.createServer((socket) => this.#serve(socket));
  }

  static async start(ip: string): Promise<RecordingBackend> {
    const backend = new RecordingBackend();
    backend.#server.listen(0, ip);
    await once(backend.#server, 'listening');
    return backend;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get open(): number {
    return this.#sockets.size;
  }

  /** What was seen since the last look: request lines with bodies. */
  take(): { readonly requests: Seen[]; readonly garbage: string[] } {
    return { requests: this.seen.splice(0), garbage: this.garbage.splice(0) };
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(socket: Socket): void {
    const connection = this.connections++;
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    let bytes = '';
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.toString('latin1');
      for (;;) {
        const read = readMessage(bytes);
        if (read === 'more') return;
        if (read === 'garbage') {
          socket.destroy();
          return;
        }
        bytes = bytes.slice(read.length);
        const { line, headers, body, trailers } = read;
        const seen = { line, headers, body, trailers, connection };
        this.seen.push(seen);
        const answer = this.answer(seen, socket);
        if (answer !== undefined)
          socket.write(typeof answer === 'string' ? Buffer.from(answer, 'latin1') : answer);
      }
    });
    socket.once('close', () => {
      if (bytes !== '') this.garbage.push(bytes);
    });
  }
}

/** A message by RFC 9112 with CRLF only, one length only, and chunks without extensions. */
export interface Message {
  readonly line: string;
  readonly headers: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
  readonly length: number;
}

/** @param bodiless whether no body follows whatever the headers say (an answer to HEAD) */
export function readMessage(bytes: string, bodiless = false): Message | 'more' | 'garbage' {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return /(^|[^\r])\n/.test(bytes) ? 'garbage' : 'more';
  const [line = '', ...headers] = bytes.slice(0, end).split('\r\n');

  if (headers.some((header) => !/^[!-9;-~]+:[^\0\r\n]*$/.test(header)) || /[\r\n\0]/.test(line))
    return 'garbage';
  const at = end + 4;
  const values = (name: string): string[] =>
    headers
      .filter((header) => header.toLowerCase().startsWith(`${name}:`))
      .map((header) => header.slice(name.length + 1).trim());
  const lengths = values('content-length');
  const codings = values('transfer-encoding');
  if (lengths.length + codings.length > 1) return 'garbage';
  if (bodiless || /^HTTP\/1.1 (1\d\d|204|304)/.test(line))
    return { line, headers, body: '', trailers: [], length: at };
  if (codings.length === 1) {
    return codings[0] === 'chunked' ? readChunks(bytes, at, { line, headers }) : 'garbage';
  }
  const length = lengths[0] ?? '0';
  if (!/^\d+$/.test(length)) return 'garbage';
  if (bytes.length < at + Number(length)) return 'more';
  return {
    line,
    headers,
    body: bytes.slice(at, at + Number(length)),
    trailers: [],
    length: at + Number(length),
  };
}

function readChunks(
  bytes: string,
  start: number,
  head: Pick<Message, 'line' | 'headers'>,
): Message | 'more' | 'garbage' {
  let at = start;
  let body = '';
  for (;;) {
    const end = bytes.indexOf('\r\n', at);
    if (end === -1) return 'more';
    const size = bytes.slice(at, end);
    if (!/^[0-9a-f]+$/i.test(size)) return 'garbage';
    at = end + 2;
    const length = parseInt(size, 16);
    if (length === 0) {
      // Trailers end with an empty line.
      const trailersEnd = bytes.startsWith('\r\n', at) ? at - 2 : bytes.indexOf('\r\n\r\n', at);
      if (trailersEnd === -1 || bytes.length < trailersEnd + 4) return 'more';
      const trailers = bytes.slice(at, Math.max(at, trailersEnd));
      return {
        ...head,
        body,
        trailers: trailers === '' ? [] : trailers.split('\r\n'),
        length: trailersEnd + 4,
      };
    }
    if (bytes.length < at + length + 2) return 'more';
    body += bytes.slice(at, at + length);
    if (bytes.slice(at + length, at + length + 2) !== '\r\n') return 'garbage';
    at += length + 2;
  }
}
