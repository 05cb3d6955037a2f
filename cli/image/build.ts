/** Loam's own image, from the files of this installation: no container engine, no registry. */
import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync, chmodSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packageRoot } from '../../lib/package-root.ts';
import { APP, contentsOf, NODE_PATH, type Contents } from './contents.ts';
import type { Architecture } from './elf.ts';
import { complete } from './entries.ts';
import { ImageError } from './errors.ts';
import { writeArchive, writeLayout, type BuiltImage, type ImageSpec } from './oci.ts';
import { sbom } from './sbom.ts';

export interface BuildOptions {
  /** Whole name with tag, for example `localhost/loam:dev`. */
  readonly name: string;
  /** Folder for the layout, the archive and the list of contents. */
  readonly output: string;
  readonly architecture: Architecture;
  /** More folders with packages of npm, for another processor than this one's. */
  readonly modules: readonly string[];
  readonly systemRoot: string;
  readonly created: Date;
}

export interface BuildResult extends BuiltImage {
  readonly layout: string;
  readonly archive: string;
  readonly sbom: string;
}

/** Makes the image. @throws ImageError */
export async function buildImage(options: BuildOptions): Promise<BuildResult> {
  checkName(options.name);
  const contents = gather(options);
  mkdirSync(options.output, { recursive: true });
  const layout = join(options.output, 'layout');
  const [image] = await writeLayout(layout, options.name, [specOf(contents, options)]);
  if (image === undefined) throw new ImageError('IMAGE_FILE', 'no image was made');
  const archive = join(options.output, 'loam.tar');
  await writeArchive(layout, archive);
  const list = join(options.output, 'sbom.spdx.json');
  const { name, created } = options;
  writeFileSync(list, `${JSON.stringify(sbom(contents, { name, ...image }, created), null, 2)}\n`);
  return { ...image, layout, archive, sbom: list };
}

/** Writes the image's files into a folder, for whoever makes the image by a Containerfile. */
export function writeFiles(options: Omit<BuildOptions, 'name' | 'created'>): void {
  const { base, app } = gather(options);
  rmSync(options.output, { recursive: true, force: true });
  for (const entry of complete([...base, ...app])) {
    const path = join(options.output, entry.path);
    mkdirSync(dirname(path), { recursive: true });
    switch (entry.kind) {
      case 'folder':
        mkdirSync(path, { recursive: true });
        break;
      case 'link':
        symlinkSync(entry.target, path);
        continue;
      case 'file':
        if (typeof entry.from === 'string') cpSync(entry.from, path);
        else writeFileSync(path, entry.from);
        break;
    }
    chmodSync(path, entry.mode);
  }
}

function gather(options: Omit<BuildOptions, 'name' | 'created'>): Contents {
  const root = packageRoot();
  return contentsOf({
    architecture: options.architecture,
    packageRoot: root,
    modules: [...options.modules, join(root, 'node_modules')],
    systemRoot: options.systemRoot,
  });
}

function specOf(contents: Contents, { architecture, created }: BuildOptions): ImageSpec {
  return {
    architecture,
    layers: [
      { title: 'Node and the libraries of the system', entries: contents.base },
      { title: `Loam ${contents.version}`, entries: contents.app },
    ],
    // Nobody opens an inspector in production by a signal (DESIGN section 2).
    entrypoint: [NODE_PATH, '--disable-sigusr1', '--enable-source-maps'],
    env: { PATH: '/usr/local/bin', NODE_ENV: 'production' },
    workingDir: APP,
    labels: {
      'org.opencontainers.image.title': 'loam',
      'org.opencontainers.image.description':
        'Sidecarless service mesh: agent, ztunnel, waypoint, controller',
      'org.opencontainers.image.version': contents.version,
      'org.opencontainers.image.licenses': contents.license,
      'org.opencontainers.image.created': created.toISOString(),
    },
    created,
  };
}

/** As much of a reference's grammar (distribution-spec) as a typing error would break. */
function checkName(name: string): void {
  if (/^[a-z0-9]+(?:[._/:-][a-z0-9]+)*\/[a-z0-9]+(?:[._/-][a-z0-9]+)*:[A-Za-z0-9_][\w.-]{0,127}$/.test(name))
    return;
  throw new ImageError(
    'IMAGE_INPUT',
    `--name ${JSON.stringify(name)}: allowed is HOST/NAME:TAG, for example localhost/loam:dev`,
  );
}
