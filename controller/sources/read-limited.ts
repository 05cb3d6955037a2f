import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

export type LimitedRead =
  { readonly ok: true; readonly text: string } | { readonly ok: false; readonly error: string };

/** Room to notice that a file grew between stat and read. */
const GROWTH_BYTES = 4096;

/**
 * Reads a regular text file of at most `maxBytes`. Opens without blocking, so that a FIFO put in its place cannot hang
 * the reader. Never throws.
 */
export async function readLimited(path: string, maxBytes: number): Promise<LimitedRead> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const info = await file.stat();
    if (!info.isFile()) return { ok: false, error: 'not a regular file' };
    if (info.size > maxBytes) return { ok: false, error: `larger than ${maxBytes} bytes` };
    const buffer = Buffer.alloc(info.size + GROWTH_BYTES);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length === buffer.length) return { ok: false, error: 'it grew while it was read' };
    return { ok: true, text: new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length)) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof TypeError) return { ok: false, error: 'not UTF-8 text' };
    return { ok: false, error: `cannot be read (${code ?? String(error)})` };
  }
}
