import { Writable } from 'node:stream';

/** A body that is written before it is known where to; holds no more than a writable's own buffer until then. */
export class BodyWriter extends Writable {
  #target: Writable | undefined;
  #waiting: (() => void) | undefined;

  /** From now on all goes there. */
  attach(target: Writable): void {
    this.#target = target;
    target.on('error', () => undefined);
    target.once('close', () => {
      if (!this.writableFinished) this.destroy();
    });
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    const write = (): void => {
      const target = this.#target;
      if (target === undefined || target.destroyed) callback();
      else if (target.write(chunk)) callback();
      else {
        const go = (): void => {
          target.off('drain', go);
          target.off('close', go);
          callback();
        };
        target.once('drain', go);
        target.once('close', go);
      }
    };
    if (this.#target === undefined) this.#waiting = write;
    else write();
  }

  override _final(callback: (error?: Error | null) => void): void {
    const end = (): void => {
      this.#target?.end();
      callback();
    };
    if (this.#target === undefined) this.#waiting = end;
    else end();
  }
}
