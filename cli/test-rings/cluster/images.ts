/** The images of a test cluster, all from files. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { buildImage } from '../../image/build.ts';
import type { Architecture } from '../../image/elf.ts';
import { file, text, type Entry } from '../../image/entries.ts';
import { writeArchive, writeLayout } from '../../image/oci.ts';
import { COREDNS_IMAGE, PAUSE_IMAGE } from './plan.ts';

/** The image of the programs that are built now, as the chart calls it in tests. */
export const LOAM_IMAGE = 'localhost/loam:dev';
const ARCHITECTURE: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

/** Makes the images that the cluster itself needs. @returns their archives */
export async function ownImages(programs: string): Promise<string[]> {
  return [
    await single(PAUSE_IMAGE, join(programs, 'pause')),
    await single(COREDNS_IMAGE, join(programs, 'coredns')),
  ];
}

/** Makes Loam's image. @returns its archive, named by its content */
export async function loamImage(folder: string): Promise<string> {
  const built = await buildImage({
    name: LOAM_IMAGE,
    output: folder,
    architecture: ARCHITECTURE,
    modules: [],
    systemRoot: '/',
    created: new Date(0),
  });
  return built.archive;
}

/**
 * An image of one program. It is made once: the program's folder changes with the program.
 *
 * @param links more entries of the image, that lead to it
 */
export async function single(name: string, program: string, links: readonly Entry[] = []): Promise<string> {
  const archive = `${program}.tar`;
  if (existsSync(archive)) return archive;
  const layout = `${program}.layout`;
  const path = `/${basename(program)}`;
  const entries: Entry[] = [
    file(path, program),
    text('/etc/passwd', 'root:x:0:0:root:/:/sbin/nologin\n'),
    ...links,
  ];
  mkdirSync(layout, { recursive: true });
  try {
    await writeLayout(layout, name, [
      {
        architecture: ARCHITECTURE,
        layers: [{ title: basename(program), entries }],
        entrypoint: [path],
        env: { PATH: '/' },
        workingDir: '/',
        labels: {},
        created: new Date(0),
      },
    ]);
    await writeArchive(layout, archive);
  } finally {
    rmSync(layout, { recursive: true, force: true });
  }
  return archive;
}
