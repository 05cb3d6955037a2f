/** A container runtime as far as NRI goes: what the agent's plugin dials, written from the protocols and not from our reader. */
import { create, fromBinary, toBinary, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { RequestSchema, ResponseSchema, type Response } from '../../../../../proto/gen/nri/ttrpc_pb.js';
import { RegisterPluginRequestSchema } from '../../../../../proto/gen/nri/nri_pb.js';

const SERVICE = 'nri.pkg.api.v1alpha1.Plugin';

export class ToyRuntime {
  readonly #server: Server;
  readonly path: string;
  socket: Socket | undefined;
  registered: { name: string; index: string } | undefined;
  /** What the next registration is answered with. */
  refusal = '';
  #bytes = Buffer.alloc(0);
  #messages = new Map<number, Buffer>();
  #stream = 1;
  readonly #answers = new Map<number, (response: Response) => void>();
  #onRegistered: () => void = () => undefined;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
    server.on('connection', (socket) => this.#connected(socket));
  }

  static async listen(path: string): Promise<ToyRuntime> {
    const server = createServer();
    server.listen(path);
    await once(server, 'listening');
    return new ToyRuntime(path, server);
  }

  async nextRegistration(): Promise<void> {
    await new Promise<void>((resolve) => (this.#onRegistered = resolve));
  }

  /** Calls the plugin. Every byte is a write of its own where `bytewise`. */
  async call<T extends DescMessage>(
    method: string,
    schema: T,
    body: MessageInitShape<T>,
    { bytewise = false, service = SERVICE } = {},
  ): Promise<Response> {
    const stream = this.#stream;
    this.#stream += 2;
    const payload = toBinary(schema, create(schema, body));
    const request = create(RequestSchema, { service, method, payload, timeoutNano: 2_000_000_000n });
    const answered = new Promise<Response>((resolve) => this.#answers.set(stream, resolve));
    const bytes = Buffer.concat(trunkFrames(1, message(stream, 1, toBinary(RequestSchema, request))));
    if (!bytewise) this.socket?.write(bytes);
    else for (const byte of bytes) this.socket?.write(Buffer.of(byte));
    return answered;
  }

  write(bytes: Buffer): void {
    this.socket?.write(bytes);
  }

  async close(): Promise<void> {
    this.socket?.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #connected(socket: Socket): void {
    this.socket = socket;
    this.#bytes = Buffer.alloc(0);
    this.#messages = new Map();
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      while (this.#bytes.length >= 8 && this.#bytes.length >= 8 + this.#bytes.readUInt32BE(4)) {
        const end = 8 + this.#bytes.readUInt32BE(4);
        this.#part(this.#bytes.readUInt32BE(0), this.#bytes.subarray(8, end));
        this.#bytes = this.#bytes.subarray(end);
      }
    });
  }

  #part(connection: number, bytes: Buffer): void {
    let all = Buffer.concat([this.#messages.get(connection) ?? Buffer.alloc(0), bytes]);
    while (all.length >= 10 && all.length >= 10 + all.readUInt32BE(0)) {
      const end = 10 + all.readUInt32BE(0);
      this.#message(connection, all.readUInt32BE(4), all.subarray(10, end));
      all = all.subarray(end);
    }
    this.#messages.set(connection, all);
  }

  #message(connection: number, stream: number, data: Buffer): void {
    if (connection === 1) {
      this.#answers.get(stream)?.(fromBinary(ResponseSchema, data));
      return;
    }
    const { method, payload } = fromBinary(RequestSchema, data);
    if (method !== 'RegisterPlugin') throw new Error(`the plugin called ${method}`);
    const { pluginName, pluginIdx } = fromBinary(RegisterPluginRequestSchema, payload);
    this.registered = { name: pluginName, index: pluginIdx };
    const response = create(
      ResponseSchema,
      this.refusal === '' ? {} : { status: { code: 2, message: this.refusal } },
    );
    for (const frame of trunkFrames(2, message(stream, 2, toBinary(ResponseSchema, response))))
      this.socket?.write(frame);
    this.#onRegistered();
  }
}

function message(stream: number, type: number, data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(10 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.writeUInt32BE(stream, 4);
  bytes.writeUInt8(type, 8);
  bytes.set(data, 10);
  return bytes;
}

/** As containerd writes: a message in pieces of at most 4096 bytes, each in a frame. */
export function trunkFrames(connection: number, bytes: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let from = 0; from < bytes.length; from += 4096) {
    const piece = bytes.subarray(from, from + 4096);
    const header = Buffer.alloc(8);
    header.writeUInt32BE(connection, 0);
    header.writeUInt32BE(piece.length, 4);
    frames.push(Buffer.concat([header, piece]));
  }
  return frames;
}
