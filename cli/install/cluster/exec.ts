/** Commands in pods, through the API server with the user's own rights. */
import { Writable } from 'node:stream';
import type { KubeConfig } from '@kubernetes/client-node';

/** A busy node takes its time to start a process. */
const TIMEOUT_MS = 60_000;
const MAX_BYTES = 64 * 1024 * 1024;

/** Of the websocket; its package brings no types. */
interface Closing {
  addEventListener(event: 'close', listener: () => void): void;
}

export class PodExec {
  readonly #config: KubeConfig;
  readonly #timeoutMs: number;

  /** @param timeoutMs for one command */
  constructor(config: KubeConfig, timeoutMs = TIMEOUT_MS) {
    this.#config = config;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Runs a command in a container.
   *
   * @returns what it wrote. @throws Error with what it said when it failed, or when it could not be run
   */
  async run(namespace: string, pod: string, container: string, command: readonly string[]): Promise<string> {
    const { Exec } = await import('@kubernetes/client-node');
    const out = new Collected();
    const err = new Collected();
    return new Promise((resolve, reject) => {
      const timeoutMs = this.#timeoutMs;
      const timer = setTimeout(() => reject(new Error(`no answer for ${timeoutMs / 1000} s`)), timeoutMs);
      const end = (body: () => void): void => {
        clearTimeout(timer);
        body();
      };
      new Exec(this.#config)
        .exec(namespace, pod, container, [...command], out, err, null, false, ({ status, message }) =>
          end(() =>
            status === 'Success'
              ? resolve(out.text)
              : reject(new Error(err.text.trim() || (message ?? 'it failed'))),
          ),
        )
        .then(
          (socket: unknown) =>
            (socket as Closing).addEventListener('close', () =>
              end(() => reject(new Error('the connection was closed'))),
            ),
          // The websocket's errors are events, not Errors.
          (error: unknown) =>
            end(() =>
              reject(
                error instanceof Error
                  ? error
                  : new Error((error as { message?: string }).message ?? 'refused'),
              ),
            ),
        );
    });
  }
}

/** Keeps what is written to it, up to a bound. */
class Collected extends Writable {
  readonly #parts: Buffer[] = [];
  #bytes = 0;

  override _write(part: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.#bytes += part.length;
    if (this.#bytes > MAX_BYTES) return done(new Error(`more than ${MAX_BYTES} bytes`));
    this.#parts.push(Buffer.from(part));
    done();
  }

  get text(): string {
    return Buffer.concat(this.#parts).toString();
  }
}
