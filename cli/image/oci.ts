/** OCI images from layers: https://github.com/opencontainers/image-spec, version 1.1 (config, manifest, index, layout). */
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Architecture } from './elf.ts';
import { tree, type Entry } from './entries.ts';
import { writeLayer, type Blob } from './layer.ts';

const MEDIA = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
} as const;

export interface ImageSpec {
  readonly architecture: Architecture;
  /** From the bottom up; each with what its line of the image's history says. */
  readonly layers: readonly { readonly title: string; readonly entries: readonly Entry[] }[];
  readonly entrypoint: readonly string[];
  readonly command?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly labels: Readonly<Record<string, string>>;
  /** When the image says that it was made. */
  readonly created: Date;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface BuiltImage {
  /** Digest of its manifest: the image's name by content. */
  readonly digest: string;
  readonly architecture: Architecture;
  /** Sum of its layers, in bytes. */
  readonly size: number;
}

/**
 * Writes an OCI image layout in place of what is at `folder`.
 *
 * @param name whole name with tag, for example `localhost/loam:dev`
 * @param images one for each processor
 * @throws ImageError IMAGE_FILE
 */
export async function writeLayout(
  folder: string,
  name: string,
  images: readonly ImageSpec[],
): Promise<BuiltImage[]> {
  mkdirSync(dirname(folder), { recursive: true });
  const work = mkdtempSync(`${folder}.`);
  chmodSync(work, 0o755);
  try {
    mkdirSync(join(work, 'blobs', 'sha256'), { recursive: true });
    const built: { readonly image: BuiltImage; readonly descriptor: object }[] = [];
    for (const spec of images) built.push(await writeImage(work, spec, name));
    writeJson(join(work, 'oci-layout'), { imageLayoutVersion: '1.0.0' });
    writeJson(join(work, 'index.json'), {
      schemaVersion: 2,
      mediaType: MEDIA.index,
      manifests: built.map(({ descriptor }) => descriptor),
    });
    // Whole or not at all.
    rmSync(folder, { recursive: true, force: true });
    renameSync(work, folder);
    return built.map(({ image }) => image);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function writeImage(
  layout: string,
  spec: ImageSpec,
  name: string,
): Promise<{ image: BuiltImage; descriptor: object }> {
  const layers: Blob[] = [];
  for (const { entries } of spec.layers) {
    const blob = await writeLayer(entries, join(layout, 'layer'));
    renameSync(blob.file, blobPath(layout, blob.digest));
    layers.push(blob);
  }
  const created = spec.created.toISOString();
  const config = putJson(layout, MEDIA.config, {
    created,
    architecture: spec.architecture,
    os: 'linux',
    config: {
      Env: Object.entries(spec.env).map(([key, value]) => `${key}=${value}`),
      Entrypoint: spec.entrypoint,
      ...(spec.command === undefined ? {} : { Cmd: spec.command }),
      WorkingDir: spec.workingDir,
      Labels: spec.labels,
    },
    // Uncompressed, a layer's digest is that of its content too.
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    history: spec.layers.map(({ title }) => ({ created, created_by: title })),
  });
  const manifest = putJson(layout, MEDIA.manifest, {
    schemaVersion: 2,
    mediaType: MEDIA.manifest,
    config,
    layers: layers.map(({ digest, size }) => ({ mediaType: MEDIA.layer, digest, size })),
    annotations: spec.labels,
  });
  return {
    image: {
      digest: manifest.digest,
      architecture: spec.architecture,
      size: layers.reduce((sum, { size }) => sum + size, 0),
    },
    descriptor: {
      ...manifest,
      platform: { architecture: spec.architecture, os: 'linux' },
      annotations: {
        // containerd imports under the first, others under the second.
        'io.containerd.image.name': name,
        'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
      },
    },
  };
}

/**
 * Packs a layout into one archive, as `ctr images import`, `podman load` and `docker load` take it.
 *
 * @returns the archive's own digest and size
 */
export async function writeArchive(layout: string, file: string): Promise<Blob> {
  // An archive of files of this machine is what a layer is too.
  const blob = await writeLayer(tree('/', layout), `${file}.new`);
  renameSync(blob.file, file);
  return { ...blob, file };
}

function blobPath(layout: string, digest: string): string {
  return join(layout, 'blobs', ...digest.split(':'));
}

function putJson(layout: string, mediaType: string, value: unknown): Descriptor {
  const bytes = Buffer.from(JSON.stringify(value));
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  writeFileSync(blobPath(layout, digest), bytes);
  return { mediaType, digest, size: bytes.length };
}

function writeJson(file: string, value: unknown): void {
  writeFileSync(file, JSON.stringify(value));
}
