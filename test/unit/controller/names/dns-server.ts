import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const A = 1;
const AAAA = 28;
const NXDOMAIN = 3;
const SERVFAIL = 2;

/** A DNS server of a test's own, over UDP on loopback: answers for the names that it is told of, NXDOMAIN for others (RFC 1035). */
export class DnsServer implements AsyncDisposable {
  readonly #socket = createSocket('udp4');
  readonly #names = new Map<string, readonly string[]>();
  /** Names that were asked for. */
  readonly asked: string[] = [];
  ttlS = 0;
  failing = false;

  static async start(): Promise<DnsServer> {
    const server = new DnsServer();
    server.#socket.on('message', (message, { port, address }) =>
      server.#socket.send(server.#answer(message), port, address),
    );
    server.#socket.bind(0, '127.0.0.1');
    await once(server.#socket, 'listening');
    return server;
  }

  /** As `--dns-servers` takes it. */
  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  /** Only IPv4 addresses are told, and AAAA as `::ffff:` never: a name with IPv4 alone has none. */
  set(name: string, ...addresses: readonly string[]): void {
    this.#names.set(name, addresses);
  }

  #answer(query: Buffer): Buffer {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const type = query.readUInt16BE(at + 1);
    const name = labels.join('.').toLowerCase();
    this.asked.push(name);
    const known = this.#names.get(name);
    const addresses = type === A ? (known ?? []) : [];
    const code = this.failing
      ? SERVFAIL
      : known === undefined && (type === A || type === AAAA)
        ? NXDOMAIN
        : 0;
    const head = Buffer.alloc(12);
    query.copy(head, 0, 0, 2);
    head.writeUInt16BE(0x8180 | code, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(code === 0 ? addresses.length : 0, 6);
    const records = (code === 0 ? addresses : []).map((address) => {
      const record = Buffer.alloc(16);
      record.writeUInt16BE(0xc00c, 0);
      record.writeUInt16BE(A, 2);
      record.writeUInt16BE(1, 4);
      record.writeUInt32BE(this.ttlS, 6);
      record.writeUInt16BE(4, 10);
      address.split('.').forEach((part, i) => record.writeUInt8(Number(part), 12 + i));
      return record;
    });
    return Buffer.concat([head, query.subarray(12, at + 5), ...records]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }
}
