/** A layer of an image: a tar archive that is the same, to the byte, whenever it is made of the same files. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack, type Pack } from 'tar-stream';
import { complete, contentOf, type Entry } from './entries.ts';

/** A blob that was written to a file of this machine. */
export interface Blob {
  readonly file: string;
  /** `sha256:…` of its bytes. */
  readonly digest: string;
  readonly size: number;
}

const EPOCH = new Date(0);

type Sink = ReturnType<Pack['entry']>;

/** Writes the entries as an uncompressed tar archive. @throws ImageError IMAGE_FILE */
export async function writeLayer(entries: readonly Entry[], file: string): Promise<Blob> {
  const archive = pack();
  const written = writeBlob(Readable.from(archive), file);
  // Whoever ends first says why; the other would only tell that its partner is gone.
  const [, blob] = await Promise.all([addAll(archive, complete(entries)), written]);
  return blob;
}

async function addAll(archive: Pack, entries: readonly Entry[]): Promise<void> {
  try {
    for (const entry of entries) await add(archive, entry);
    archive.finalize();
  } catch (error) {
    archive.destroy(error as Error);
    throw error;
  }
}

function add(archive: Pack, entry: Entry): Promise<void> {
  const common = {
    name: entry.path.slice(1),
    mode: entry.mode,
    mtime: EPOCH,
    uid: 0,
    gid: 0,
    uname: '',
    gname: '',
  };
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null): void => (error ? reject(error) : resolve());
    switch (entry.kind) {
      case 'folder':
        archive.entry({ ...common, name: `${common.name}/`, type: 'directory' }, done);
        return;
      case 'link':
        archive.entry({ ...common, type: 'symlink', linkname: entry.target }, done);
        return;
      case 'file': {
        const { size, content } = contentOf(entry);
        // It refuses more or less than the announced size: a file that changes meanwhile is an error.
        feed(archive.entry({ ...common, type: 'file', size }, done), content()).catch(reject);
        return;
      }
    }
  });
}

async function feed(to: Sink, content: AsyncIterable<Buffer>): Promise<void> {
  for await (const chunk of content)
    if (!to.write(chunk)) await new Promise<void>((resolve) => to.once('drain', resolve));
  to.end(undefined);
}

/** Writes a stream into a file, counting and hashing on the way. */
async function writeBlob(from: Readable, file: string): Promise<Blob> {
  const hash = createHash('sha256');
  let size = 0;
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      done(null, chunk);
    },
  });
  await pipeline(from, counted, createWriteStream(file));
  return { file, digest: `sha256:${hash.digest('hex')}`, size };
}
