/** One connection to the runtime's NRI socket: calls of the runtime are answered, and one call is made, to register. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { createConnection, type Socket } from 'node:net';
import { RegisterPluginRequestSchema } from '../../../proto/gen/nri/nri_pb.js';
import { RequestSchema, ResponseSchema, type Request } from '../../../proto/gen/nri/ttrpc_pb.js';
import { errorText } from '../../../lib/loam-error.ts';
import { AgentError } from '../../agent-error.ts';
import {
  connectionOf,
  frame,
  messageReader,
  PLUGIN_CONNECTION,
  REQUEST,
  RESPONSE,
  RUNTIME_CONNECTION,
  streamOf,
  trunkReader,
} from './frames.ts';

const PLUGIN_SERVICE = 'nri.pkg.api.v1alpha1.Plugin';
const RUNTIME_SERVICE = 'nri.pkg.api.v1alpha1.Runtime';
const REGISTRATION = 1;
/** google.rpc.Code. DEADLINE_EXCEEDED must not be among those sent: a runtime throws the plugin out for it. */
const CODE = { unknown: 2, unimplemented: 12 };
/** Keeps an answer within what the runtime reads at once. */
const MAX_REASON = 1000;

export interface Call {
  readonly method: string;
  readonly payload: Uint8Array;
  /** How long the runtime waits for the answer, in milliseconds; undefined: it does not say. */
  readonly timeoutMs: number | undefined;
}

/** No such method. */
export const UNKNOWN_METHOD = Symbol('unknown method');

export interface ConnectionOptions {
  readonly path: string;
  readonly name: string;
  /** Two digits. */
  readonly index: string;
  /**
   * Answers a call of the runtime.
   *
   * @throws what the runtime is told as its refusal
   */
  readonly answer: (call: Call) => Promise<Uint8Array | typeof UNKNOWN_METHOD>;
  readonly onRegistered: () => void;
  /** Once, when the connection has ended; undefined: the runtime ended it in good order. */
  readonly onClose: (reason: Error | undefined) => void;
}

export class NriConnection {
  readonly #options: ConnectionOptions;
  readonly #socket: Socket;
  readonly #trunk = trunkReader();
  readonly #calls = messageReader();
  readonly #answers = messageReader();
  #reason: Error | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#socket = createConnection(options.path);
    this.#socket.on('connect', () => this.#register());
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk));
    this.#socket.on('error', (error) => (this.#reason ??= error));
    this.#socket.on('close', () => options.onClose(this.#reason));
  }

  close(): void {
    this.#socket.destroy();
  }

  #register(): void {
    const { name, index } = this.#options;
    const body = create(RegisterPluginRequestSchema, { pluginName: name, pluginIdx: index });
    const request = create(RequestSchema, {
      service: RUNTIME_SERVICE,
      method: 'RegisterPlugin',
      payload: toBinary(RegisterPluginRequestSchema, body),
    });
    this.#send(RUNTIME_CONNECTION, REGISTRATION, REQUEST, toBinary(RequestSchema, request));
  }

  #read(chunk: Buffer): void {
    try {
      for (const part of this.#trunk.read(chunk)) {
        const connection = connectionOf(part);
        // Connections that we do not know are another's business: the runtime passes over them too.
        if (connection === PLUGIN_CONNECTION) this.#readCalls(part.body);
        else if (connection === RUNTIME_CONNECTION) this.#readAnswers(part.body);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #readCalls(bytes: Buffer): void {
    for (const message of this.#calls.read(bytes)) {
      const { stream, type } = streamOf(message);
      if (type !== REQUEST)
        throw new AgentError('NRI_PROTOCOL', `message of type ${type} in place of a call`);
      void this.#answer(stream, fromBinary(RequestSchema, message.body));
    }
  }

  #readAnswers(bytes: Buffer): void {
    for (const message of this.#answers.read(bytes)) {
      const { stream, type } = streamOf(message);
      if (type !== RESPONSE || stream !== REGISTRATION)
        throw new AgentError(
          'NRI_PROTOCOL',
          `message of type ${type} for stream ${stream}, of which nobody asked`,
        );
      const { status } = fromBinary(ResponseSchema, message.body);
      if (status !== undefined && status.code !== 0)
        throw new AgentError('NRI_REFUSED', `the runtime does not take the plugin: ${status.message}`);
      this.#options.onRegistered();
    }
  }

  async #answer(stream: number, request: Request): Promise<void> {
    const { service, method, payload, timeoutNano } = request;
    const timeoutMs = timeoutNano > 0n ? Number(timeoutNano / 1_000_000n) : undefined;
    let response: Uint8Array;
    try {
      const answer =
        service === PLUGIN_SERVICE
          ? await this.#options.answer({ method, payload, timeoutMs })
          : UNKNOWN_METHOD;
      response =
        answer === UNKNOWN_METHOD
          ? refusal(CODE.unimplemented, `${service}.${method} is not known here`)
          : toBinary(ResponseSchema, create(ResponseSchema, { payload: answer }));
    } catch (error) {
      response = refusal(CODE.unknown, errorText(error));
    }
    this.#send(PLUGIN_CONNECTION, stream, RESPONSE, response);
  }

  #send(connection: number, stream: number, type: number, data: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(frame(connection, stream, type, data));
  }

  #fail(error: unknown): void {
    this.#reason ??= error instanceof Error ? error : new Error(errorText(error));
    this.#socket.destroy();
  }
}

function refusal(code: number, reason: string): Uint8Array {
  const status = { code, message: reason.slice(0, MAX_REASON) };
  return toBinary(ResponseSchema, create(ResponseSchema, { status }));
}
