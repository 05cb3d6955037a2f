import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { appFile, type Mesh } from './harness.ts';

export interface Answer {
  /** Absent where there was no response. */
  readonly status?: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly rawHeaders?: readonly string[];
  readonly trailers: Readonly<Record<string, string>>;
  /** The beginning of the body. */
  readonly text: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly informational: readonly number[];
  /** Why it failed, also after a part of the response. */
  readonly error?: string;
}

/** What app/way-server.mjs tells of a request that wishes nothing. */
export interface Told {
  readonly pod: string;
  readonly method: string;
  readonly url: string;
  readonly version: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly trailers: Readonly<Record<string, string>>;
  readonly bytes: number;
  readonly sha256: string;
}

export interface RequestOptions {
  readonly host: string;
  readonly port: number;
  /** `grpc` only for a load. */
  readonly proto?: 'h1' | 'h2' | 'grpc';
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A text as the body; or a number of bytes. */
  readonly body?: string;
  readonly size?: number;
  readonly chunked?: boolean;
  readonly trailers?: Readonly<Record<string, string>>;
  /** Sends the body only after 100 Continue. */
  readonly expect?: boolean;
  /** On a connection of its own. */
  readonly fresh?: boolean;
  readonly timeoutMs?: number;
}

/** By outcome: `200 v1` (status and pod), `error ECONNRESET`. */
export type Counts = Readonly<Record<string, number>>;

export interface Step {
  readonly say?: string;
  readonly until?: string;
  readonly end?: boolean;
}

export interface GrpcAnswer {
  readonly code: number;
  readonly details: string;
  readonly received: readonly string[];
  readonly header: Readonly<Record<string, string>>;
  readonly trailer: Readonly<Record<string, string>>;
}

/** app/way-client.mjs, running in a pod. */
export class Driver {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (message: { result?: unknown; error?: string }) => void>();
  #next = 1;
  #said = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr?.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
    child.once('close', () => {
      for (const answer of this.#waiting.values()) answer({ error: `the client ended: ${this.#said}` });
      this.#waiting.clear();
    });
    if (child.stdout === null) throw new Error('a driver needs its output');
    createInterface({ input: child.stdout }).on('line', (line) => {
      const message = JSON.parse(line) as { id: number; result?: unknown; error?: string };
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    });
  }

  static async in(mesh: Mesh, pod: string): Promise<Driver> {
    return Driver.over(await mesh.spawn(pod, 'node', appFile('way-client.mjs')));
  }

  /** @param child app/way-client.mjs, wherever it runs */
  static async over(child: ChildProcess): Promise<Driver> {
    const driver = new Driver(child);
    await driver.#answer(0);
    return driver;
  }

  stop(): void {
    this.#child.stdin?.end();
    this.#child.kill();
  }

  request(options: RequestOptions): Promise<Answer> {
    return this.#call('request', options) as Promise<Answer>;
  }

  /** @returns what the server saw of the request, which it answered with 200 */
  async told(options: RequestOptions): Promise<Told> {
    const answer = await this.request(options);
    if (answer.status !== 200 || answer.error !== undefined)
      throw new Error(`${options.path ?? '/'}: ${JSON.stringify(answer)}`);
    return JSON.parse(answer.text) as Told;
  }

  async burst(options: RequestOptions & { readonly n: number; readonly sockets?: number }): Promise<Counts> {
    return ((await this.#call('burst', options)) as { counts: Counts }).counts;
  }

  /** Goes on with requests, until `loadStop`. */
  async loadStart(
    options: RequestOptions & { readonly id: string; readonly sockets?: number },
  ): Promise<void> {
    await this.#call('loadStart', options);
  }

  async loadStop(id: string): Promise<Counts> {
    return ((await this.#call('loadStop', { id })) as { counts: Counts }).counts;
  }

  stalled(options: { host: string; port: number; bytes: number; id: string }) {
    return this.#call('stalled', options) as Promise<{ stalledAt: number; bytes: number }>;
  }

  grpc(options: {
    host: string;
    port: number;
    kind: 'unary' | 'client' | 'server' | 'both' | 'fail';
    messages: readonly string[];
    metadata?: Readonly<Record<string, string>>;
    deadlineMs?: number;
  }): Promise<GrpcAnswer> {
    return this.#call('grpc', options) as Promise<GrpcAnswer>;
  }

  conversation(host: string, port: number, steps: readonly Step[], timeoutMs?: number) {
    return this.#call('conversation', { host, port, steps, timeoutMs }) as Promise<{
      received: string;
      end: string;
    }>;
  }

  tcp(host: string, port: number, bytes: number) {
    return this.#call('tcp', { host, port, bytes }) as Promise<{
      received: string;
      end: string;
      sha256: string;
    }>;
  }

  tls(host: string, port: number) {
    return this.#call('tls', { host, port }) as Promise<{ received: string; end: string }>;
  }

  events(host: string, port: number, id: string) {
    return this.#call('events', { host, port, id }) as Promise<{ chunks: readonly string[]; type: string }>;
  }

  early(host: string, port: number) {
    return this.#call('early', { host, port }) as Promise<{ status?: number; text?: string; error?: string }>;
  }

  #call(op: string, args: object): Promise<unknown> {
    const id = this.#next++;
    const answer = this.#answer(id);
    this.#child.stdin?.write(`${JSON.stringify({ id, op, args })}\n`);
    return answer;
  }

  #answer(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        if (error !== undefined) reject(new Error(error));
        else resolve(result);
      });
    });
  }
}

/** Of all requests, how many came out so; a text that a key begins with counts all such. */
export function count(counts: Counts, begin = ''): number {
  return Object.entries(counts)
    .filter(([key]) => key.startsWith(begin))
    .reduce((sum, [, n]) => sum + n, 0);
}
