/** A connection to a port of a pod's loopback, by the API server's port-forward and with the user's own rights. */
import { Duplex, PassThrough, Writable } from 'node:stream';
import type { KubeConfig } from '@kubernetes/client-node';
import { MeshError } from '../errors.ts';

/** What nobody has read yet; more means that nobody will. */
const MAX_UNREAD_BYTES = 64 * 2 ** 20;
const FORBIDDEN = /Unexpected server response: 403/;
const GONE = /Unexpected server response: 404/;

/** Of the websocket; its package brings no types. */
interface Socket {
  close(): void;
  addEventListener(event: 'close', listener: () => void): void;
  addEventListener(event: 'error', listener: (event: { readonly message?: string }) => void): void;
}

export interface PodPort {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
}

/**
 * One TCP connection inside of a pod's network. It fails with MeshError: MESH_RIGHTS where the user may not forward ports there,
 * MESH_ANSWER where nobody listens or the pod is gone.
 */
export class PodStream extends Duplex {
  readonly #input = new PassThrough();
  readonly #at: PodPort;
  #socket: Socket | undefined;

  constructor(config: KubeConfig, at: PodPort) {
    super({ allowHalfOpen: true });
    this.#at = at;
    // A pod that goes away while it is asked.
    this.#input.on('error', (error) => this.destroy(error));
    void this.#connect(config);
  }

  // What http.Client sets on its sockets, and what has no meaning here.
  setTimeout(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#input.write(chunk, () => done());
  }

  // The far end has no way to hear that only our half ended: the connection stays until it is answered.
  override _final(done: () => void): void {
    done();
  }

  override _read(): void {
    // What arrives is pushed.
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket?.close();
    this.#input.destroy();
    done(error);
  }

  async #connect(config: KubeConfig): Promise<void> {
    const { namespace, pod, port } = this.#at;
    try {
      const { PortForward } = await import('@kubernetes/client-node');
      const socket = (await new PortForward(config).portForward(
        namespace,
        pod,
        [port],
        this.#collector(),
        this.#errors(),
        this.#input,
      )) as Socket;
      this.#socket = socket;
      socket.addEventListener('error', ({ message }) => this.destroy(this.#failure(message)));
      socket.addEventListener('close', () => this.push(null));
      if (this.destroyed) socket.close();
    } catch (error) {
      // The websocket's errors are events, not Errors.
      this.destroy(this.#failure((error as { message?: string }).message));
    }
  }

  #collector(): Writable {
    return new Writable({
      write: (part: Buffer, _encoding, done) => {
        this.push(part);
        if (this.readableLength > MAX_UNREAD_BYTES)
          this.destroy(new MeshError('MESH_ANSWER', `more than ${MAX_UNREAD_BYTES} bytes at once`));
        done();
      },
    });
  }

  /** The node says there why it does not connect; an empty part says nothing. */
  #errors(): Writable {
    return new Writable({
      write: (part: Buffer, _encoding, done) => {
        if (part.length > 0) this.destroy(this.#failure(part.toString()));
        done();
      },
    });
  }

  #failure(message = 'the connection to the API server failed'): MeshError {
    const { namespace, pod, port } = this.#at;
    if (FORBIDDEN.test(message)) return new MeshError('MESH_RIGHTS', portForwardRight(namespace));
    if (GONE.test(message))
      return new MeshError('MESH_ANSWER', `there is no pod ${namespace}/${pod} any more`);
    const why = message.trim().slice(0, 300);
    return new MeshError('MESH_ANSWER', `port ${port} of pod ${namespace}/${pod} cannot be reached: ${why}`);
  }
}

/** Says which right is missing. */
export function portForwardRight(namespace: string): string {
  return `you have no right to forward ports to pods of namespace ${namespace} (get and create of pods/portforward)`;
}
