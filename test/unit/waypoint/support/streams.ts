import { once } from 'node:events';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import type { Duplex, Readable } from 'node:stream';

export { eventually, happened, readAll } from '../../ztunnel/support/streams.ts';

/** Byte streams of two kinds that the waypoint meets: HBONE streams and sockets; both ends on this machine's loopback. */
export class StreamPairs {
  #server: http2.Http2Server | undefined;
  #session: http2.ClientHttp2Session | undefined;
  readonly #servers: net.Server[] = [];
  readonly #streams = new Set<Duplex>();

  /**
   * Both ends of a CONNECT stream, as HBONE has them, without TLS.
   *
   * @param settings the client's, where this is the first
   */
  async http2(
    settings: http2.Settings = {},
  ): Promise<{ near: http2.ClientHttp2Stream; far: http2.ServerHttp2Stream }> {
    if (this.#session === undefined || this.#server === undefined) {
      this.#server = http2.createServer();
      this.#server.listen(0, '127.0.0.1');
      await once(this.#server, 'listening');
      const { port } = this.#server.address() as AddressInfo;
      this.#session = http2.connect(`http://127.0.0.1:${port}`, { settings });
      this.#session.on('error', () => undefined);
    }
    const arrived = once(this.#server, 'stream');
    const near = this.#session.request(
      { ':method': 'CONNECT', ':authority': '198.18.0.1:80' },
      { endStream: false },
    );
    const [far] = (await arrived) as [http2.ServerHttp2Stream];
    far.respond({ ':status': 200 });
    await once(near, 'response');
    return this.#keep({ near, far });
  }

  /** Both ends of a TCP connection. */
  async tcp(): Promise<{ near: net.Socket; far: net.Socket }> {
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
    this.#servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const arrived = once(server, 'connection');
    const near = net.connect({
      port: (server.address() as AddressInfo).port,
      host: '127.0.0.1',
      allowHalfOpen: true,
    });
    const [far] = (await arrived) as [net.Socket];
    return this.#keep({ near, far });
  }

  close(): void {
    for (const stream of this.#streams) stream.destroy();
    this.#session?.destroy();
    this.#server?.close();
    for (const server of this.#servers) server.close();
  }

  #keep<P extends { near: Duplex; far: Duplex }>(pair: P): P {
    for (const stream of [pair.near, pair.far]) {
      stream.on('error', () => undefined);
      this.#streams.add(stream);
    }
    return pair;
  }
}

/** Reads until this text has come; what comes after it is kept in the answer too. */
export function readUntil(stream: Readable, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = '';
    const onData = (chunk: Buffer): void => {
      seen += chunk.toString('latin1');
      if (!seen.includes(text)) return;
      stream.off('data', onData);
      stream.off('close', onClose);
      resolve(seen);
    };
    const onClose = (): void => reject(new Error(`closed before ${JSON.stringify(text)}; came: ${seen}`));
    stream.on('data', onData);
    stream.once('close', onClose);
  });
}

/** So many turns of the event loop: for what must not happen. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
