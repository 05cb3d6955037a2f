const PREFIX_BYTES = 5;

/** Counts the messages of a gRPC stream by their length prefixes, without holding a byte of them (gRPC over HTTP/2). */
export class GrpcMessageCounter {
  count = 0;
  /** Bytes of the current message that are still to come. */
  #left = 0;
  #prefix = 0;
  #length = 0;

  add(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at);
        this.#left -= step;
        at += step;
        continue;
      }
      const byte = chunk[at] ?? 0;
      at += 1;
      // The first byte of the prefix is a flag.
      if (this.#prefix > 0) this.#length = this.#length * 256 + byte;
      this.#prefix += 1;
      if (this.#prefix < PREFIX_BYTES) continue;
      this.count += 1;
      this.#left = this.#length;
      this.#prefix = 0;
      this.#length = 0;
    }
  }
}
