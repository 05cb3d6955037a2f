import type { Duplex } from 'node:stream';

/**
 * Makes a stream take texts as bytes. Node's HTTP/1.1 writes heads as Latin-1 texts and bodies as buffers; an HTTP/2
 * stream that gets both in one turn garbles the text (docs/decisions/0071).
 */
export function takeTextsAsBytes<S extends Duplex>(stream: S): S {
  const write = stream.write.bind(stream) as (
    chunk: unknown,
    encoding?: BufferEncoding | ((error?: Error | null) => void),
    callback?: (error?: Error | null) => void,
  ) => boolean;
  stream.write = ((
    chunk: unknown,
    encoding?: BufferEncoding | ((error?: Error | null) => void),
    callback?: (error?: Error | null) => void,
  ): boolean => {
    if (typeof chunk !== 'string') return write(chunk, encoding, callback);
    if (typeof encoding === 'function') return write(Buffer.from(chunk), encoding);
    return write(Buffer.from(chunk, encoding), undefined, callback);
  }) as S['write'];
  return stream;
}
