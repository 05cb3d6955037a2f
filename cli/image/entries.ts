/** What an image's file system consists of: files of this machine, made-up ones, folders and links. */
import { createReadStream, lstatSync, readdirSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { Readable } from 'node:stream';
import { ImageError } from './errors.ts';

/** Owner is always root, time always the beginning of 1970: neither tells anything about the content. */
interface Common {
  /** Absolute path in the image. */
  readonly path: string;
  readonly mode: number;
}

export interface FileEntry extends Common {
  readonly kind: 'file';
  /** Path of a file of this machine, or the content itself. */
  readonly from: string | Buffer;
}
export interface FolderEntry extends Common {
  readonly kind: 'folder';
}
export interface LinkEntry extends Common {
  readonly kind: 'link';
  readonly target: string;
}
export type Entry = FileEntry | FolderEntry | LinkEntry;

const EXECUTABLE = 0o755;
const PLAIN = 0o644;

export function folder(path: string, mode = EXECUTABLE): FolderEntry {
  return { kind: 'folder', path, mode };
}

export function text(path: string, content: string): FileEntry {
  return { kind: 'file', path, mode: PLAIN, from: Buffer.from(content) };
}

/**
 * A file of this machine; of its mode only whether somebody may execute it is kept.
 *
 * @throws ImageError IMAGE_FILE when it is not a file
 */
export function file(path: string, from: string): FileEntry {
  const stat = statSync(from, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) throw new ImageError('IMAGE_FILE', `${from} is missing, or is no file`);
  return { kind: 'file', path, from, mode: (stat.mode & 0o111) === 0 ? PLAIN : EXECUTABLE };
}

/**
 * All files under a folder of this machine.
 *
 * @param keep whether a file belongs into the image, by its path from the folder
 * @throws ImageError IMAGE_FILE for what is neither file nor folder
 */
export function tree(path: string, from: string, keep: (relative: string) => boolean = () => true): Entry[] {
  const found: Entry[] = [];
  const walk = (relative: string): void => {
    for (const name of readdirSync(posix.join(from, relative)).sort()) {
      const inside = posix.join(relative, name);
      const stat = lstatSync(posix.join(from, inside));
      if (stat.isDirectory()) walk(inside);
      else if (!keep(inside)) continue;
      else if (stat.isFile()) found.push(file(posix.join(path, inside), posix.join(from, inside)));
      else throw new ImageError('IMAGE_FILE', `${posix.join(from, inside)} is neither a file nor a folder`);
    }
  };
  walk('');
  return found;
}

/**
 * Entries in the one order that the archive has, with every folder that they stand in.
 *
 * @throws ImageError IMAGE_FILE when two different things want the same path
 */
export function complete(entries: readonly Entry[]): Entry[] {
  const byPath = new Map<string, Entry>();
  for (const entry of entries) {
    if (!posix.isAbsolute(entry.path) || posix.normalize(entry.path) !== entry.path)
      throw new ImageError(
        'IMAGE_FILE',
        `${JSON.stringify(entry.path)} is no normal absolute path in an image`,
      );
    const other = byPath.get(entry.path);
    if (other !== undefined && !same(other, entry))
      throw new ImageError('IMAGE_FILE', `two different things are to be ${entry.path} in the image`);
    byPath.set(entry.path, entry);
  }
  for (const { path } of entries)
    for (let at = posix.dirname(path); at !== '/'; at = posix.dirname(at)) {
      const there = byPath.get(at);
      if (there === undefined) byPath.set(at, folder(at));
      else if (there.kind !== 'folder')
        throw new ImageError('IMAGE_FILE', `${path} lies in ${at}, which is no folder in the image`);
    }
  // By code unit, not by locale: the same on every machine. A folder comes before what is in it.
  return [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

function same(a: Entry, b: Entry): boolean {
  if (a.kind !== b.kind || a.mode !== b.mode) return false;
  if (a.kind === 'link') return a.target === (b as LinkEntry).target;
  if (a.kind === 'folder') return true;
  const other = (b as FileEntry).from;
  if (typeof a.from === 'string' || typeof other === 'string') return a.from === other;
  return a.from.equals(other);
}

/** Size in bytes and content of a file of the image. */
export function contentOf({ from }: FileEntry): { size: number; content: () => AsyncIterable<Buffer> } {
  if (typeof from !== 'string') return { size: from.length, content: () => Readable.from([from]) };
  return { size: statSync(from).size, content: () => createReadStream(from) };
}
