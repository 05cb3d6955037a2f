/**
 * The plugin on the host: its program in the folder of programs, its entry in the list that the runtime uses. Each file changes in one
 * step, so that the runtime never reads half of one; the program is there before the entry, and goes after it.
 */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import { PLUGIN_TYPE, withoutPlugin, withPlugin, type PluginEntry } from './chain.ts';

/** Folders of the host. */
export interface CniFolders {
  /** Of the lists. */
  readonly conf: string;
  /** Of the programs. */
  readonly bin: string;
}

/** Runtimes read these, in the order of their names, and use the first. */
const LIST = /\.(?:conflist|conf|json)$/;
/** Read by no runtime. */
const TEMPORARY = '.loam-cni.new';
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The program for this machine, in the package. */
export function pluginFile(): string {
  return join(packageRoot(), 'cni', `${PLUGIN_TYPE}.${ARCHITECTURES[process.arch] ?? process.arch}`);
}

/**
 * Puts program and entry in place, unless they are.
 *
 * @returns path of the list that has the entry, and whether anything was changed
 * @throws Error that names the file and what is wrong with it; nothing is changed then
 */
export function install(
  { conf, bin }: CniFolders,
  entry: PluginEntry,
  program = pluginFile(),
): { list: string; changed: boolean } {
  const name = listsIn(conf)[0];
  if (name === undefined)
    throw new Error(`${conf} has no list of plugins yet: the cluster's network plugin writes it`);
  const list = join(conf, name);
  let text: string | undefined;
  try {
    text = withPlugin(readFileSync(list, 'utf8'), entry);
  } catch (cause) {
    throw new Error(`${list} cannot be used`, { cause });
  }
  const target = join(bin, PLUGIN_TYPE);
  const wanted = readFileSync(program);
  const isThere = contentOf(target)?.equals(wanted) === true;
  if (!isThere) replace(bin, PLUGIN_TYPE, wanted, 0o755);
  if (text !== undefined) replace(conf, name, Buffer.from(text), statSync(list).mode & 0o7777);
  return { list, changed: !isThere || text !== undefined };
}

/** Takes our entry out of every list. @returns whether there was one */
export function removeEntry({ conf }: CniFolders): boolean {
  let found = false;
  for (const name of listsIn(conf)) {
    const path = join(conf, name);
    const text = withoutPlugin(readFileSync(path, 'utf8'));
    if (text === undefined) continue;
    replace(conf, name, Buffer.from(text), statSync(path).mode & 0o7777);
    found = true;
  }
  return found;
}

/** Takes our program away; to be called when no list names it any more. */
export function removeProgram({ conf, bin }: CniFolders): void {
  rmSync(join(bin, PLUGIN_TYPE), { force: true });
  for (const folder of [conf, bin]) rmSync(join(folder, TEMPORARY), { force: true });
}

function listsIn(conf: string): string[] {
  try {
    return readdirSync(conf)
      .filter((name) => LIST.test(name))
      .sort();
  } catch {
    return [];
  }
}

function contentOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** As a whole, or not at all. */
function replace(folder: string, name: string, content: Buffer, mode: number): void {
  const temporary = join(folder, TEMPORARY);
  rmSync(temporary, { force: true });
  const fd = openSync(temporary, 'wx', mode);
  try {
    writeSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  chmodSync(temporary, mode);
  renameSync(temporary, join(folder, name));
}
