import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';

export interface ReportFile {
  /** Path within the archive. */
  readonly path: string;
  readonly content: string;
}

const OWNER_ONLY = 0o600;

/** Writes files as a compressed archive that only its owner may read. @throws Error when the file exists or cannot be written */
export async function writeArchive(file: string, files: readonly ReportFile[]): Promise<void> {
  const archive = pack();
  const mtime = new Date();
  for (const { path, content } of files) archive.entry({ name: path, mode: OWNER_ONLY, mtime }, content);
  archive.finalize();
  await pipeline(
    Readable.from(archive),
    createGzip(),
    createWriteStream(file, { mode: OWNER_ONLY, flags: 'wx' }),
  );
}
