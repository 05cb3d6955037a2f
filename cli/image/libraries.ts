/** The shared libraries that programs need, followed to the last one. */
import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { elfNeeds, type Architecture } from './elf.ts';
import { file, type FileEntry } from './entries.ts';
import { ImageError } from './errors.ts';

/** Where Debian's loader looks, then Fedora's. The image has a library where its system has it. */
const FOLDERS: Readonly<Record<Architecture, readonly string[]>> = {
  amd64: ['/usr/lib/x86_64-linux-gnu', '/lib/x86_64-linux-gnu', '/usr/lib64', '/lib64'],
  arm64: ['/usr/lib/aarch64-linux-gnu', '/lib/aarch64-linux-gnu', '/usr/lib64', '/lib64'],
};

/**
 * Everything that programs need beside themselves.
 *
 * @param programs paths of ELF files of this machine that go into the image
 * @param names libraries that are opened by name at run time, for example `libbpf.so.1`
 * @param systemRoot folder that holds the system whose libraries they are: `/` for this machine's own
 * @throws ImageError IMAGE_FILE naming what is missing, or is for another processor
 */
export function librariesOf(
  programs: readonly string[],
  names: readonly string[],
  systemRoot: string,
  architecture: Architecture,
): FileEntry[] {
  const found = new Map<string, FileEntry>();
  const loaders = new Map<string, string>();

  const visit = (program: string): void => {
    const needs = elfNeeds(program);
    if (needs.architecture !== architecture)
      throw new ImageError(
        'IMAGE_FILE',
        `${program} is for ${needs.architecture}, the image for ${architecture}`,
      );
    if (needs.interpreter !== undefined) loaders.set(basename(needs.interpreter), needs.interpreter);
    for (const name of needs.libraries) add(name, program);
  };
  const add = (name: string, neededBy: string): void => {
    // The loader is in memory before any library asks for it by name.
    if (found.has(name) || loaders.has(name)) return;
    const path = FOLDERS[architecture]
      .map((dir) => join(dir, name))
      .find((candidate) => existsSync(join(systemRoot, candidate)));
    if (path === undefined)
      throw new ImageError(
        'IMAGE_FILE',
        `${name}, needed by ${neededBy}, is not in ${FOLDERS[architecture].join(', ')} of ${systemRoot}`,
      );
    const real = realpathSync(join(systemRoot, path));
    found.set(name, { ...file(path, real), mode: 0o755 });
    visit(real);
  };

  for (const program of programs) visit(program);
  for (const name of names) add(name, 'Loam');
  const loaderFiles = [...loaders.values()].map((path) => loader(path, systemRoot));
  return [...found.values(), ...loaderFiles];
}

/** The loader stands where the programs say, as a file and not as the link that it is on most systems. */
function loader(path: string, systemRoot: string): FileEntry {
  const whole = join(systemRoot, path);
  const folder = [dirname(path), join('/usr', dirname(path))].find((dir) =>
    existsSync(join(systemRoot, dir, basename(path))),
  );
  if (folder === undefined) throw new ImageError('IMAGE_FILE', `the loader ${whole} is missing`);
  return { ...file(path, realpathSync(join(systemRoot, folder, basename(path)))), mode: 0o755 };
}
