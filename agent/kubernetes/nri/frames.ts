/**
 * The two framings of NRI: its unix socket carries several connections (github.com/containerd/nri, pkg/net/multiplex),
 * and each of them ttrpc messages (github.com/containerd/ttrpc, PROTOCOL.md). All numbers are big-endian.
 */
import { AgentError } from '../../agent-error.ts';

/** Connections on the socket: on the first the runtime calls the plugin, on the second the plugin the runtime. */
export const PLUGIN_CONNECTION = 1;
export const RUNTIME_CONNECTION = 2;

export const REQUEST = 1;
export const RESPONSE = 2;

const MAX_MESSAGE = 4 * 1024 * 1024;
const TRUNK_HEADER = 8;
const MESSAGE_HEADER = 10;
/** The runtime reads each frame into a buffer of this size, and gives the connection up where it does not fit. */
export const MAX_SENT = 4096;

export interface Frame {
  readonly header: Buffer;
  readonly body: Buffer;
}

/** Cuts a stream of bytes into frames of a header, which has the length of the rest in it, and the rest. */
export class FrameReader {
  readonly #headerBytes: number;
  readonly #lengthAt: number;
  readonly #maxBytes: number;
  readonly #waiting: Buffer[] = [];
  #size = 0;

  constructor(headerBytes: number, lengthAt: number, maxBytes: number) {
    this.#headerBytes = headerBytes;
    this.#lengthAt = lengthAt;
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes bytes and gives the frames that they complete.
   *
   * @throws AgentError NRI_PROTOCOL when a frame is longer than allowed
   */
  *read(chunk: Buffer): Generator<Frame> {
    this.#waiting.push(chunk);
    this.#size += chunk.length;
    for (;;) {
      if (this.#size < this.#headerBytes) return;
      const length = this.#joined(this.#headerBytes).readUInt32BE(this.#lengthAt);
      if (length > this.#maxBytes)
        throw new AgentError(
          'NRI_PROTOCOL',
          `the runtime sent a frame of ${length} bytes; allowed: ${this.#maxBytes}`,
        );
      const total = this.#headerBytes + length;
      if (this.#size < total) return;
      const bytes = this.#joined(total);
      this.#waiting[0] = bytes.subarray(total);
      this.#size -= total;
      yield { header: bytes.subarray(0, this.#headerBytes), body: bytes.subarray(this.#headerBytes, total) };
    }
  }

  /** The first buffer, once it has at least so many bytes. */
  #joined(bytes: number): Buffer {
    const [first] = this.#waiting;
    if (first !== undefined && first.length >= bytes) return first;
    const all = Buffer.concat(this.#waiting);
    this.#waiting.splice(0, this.#waiting.length, all);
    return all;
  }
}

export function trunkReader(): FrameReader {
  return new FrameReader(TRUNK_HEADER, 4, MAX_MESSAGE + MESSAGE_HEADER);
}

export function messageReader(): FrameReader {
  return new FrameReader(MESSAGE_HEADER, 0, MAX_MESSAGE);
}

export function connectionOf({ header }: Frame): number {
  return header.readUInt32BE(0);
}

export function streamOf({ header }: Frame): { readonly stream: number; readonly type: number } {
  return { stream: header.readUInt32BE(4), type: header.readUInt8(8) };
}

/** A ttrpc message within a frame of the socket. @throws RangeError where the runtime could not read it */
export function frame(connection: number, stream: number, type: number, data: Uint8Array): Buffer {
  const length = MESSAGE_HEADER + data.length;
  if (length > MAX_SENT) throw new RangeError(`${length} bytes to the runtime; allowed: ${MAX_SENT}`);
  const bytes = Buffer.alloc(TRUNK_HEADER + length);
  bytes.writeUInt32BE(connection, 0);
  bytes.writeUInt32BE(length, 4);
  bytes.writeUInt32BE(data.length, TRUNK_HEADER);
  bytes.writeUInt32BE(stream, TRUNK_HEADER + 4);
  bytes.writeUInt8(type, TRUNK_HEADER + 8);
  bytes.set(data, TRUNK_HEADER + MESSAGE_HEADER);
  return bytes;
}
