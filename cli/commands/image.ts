import { join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { packageRoot } from '../../lib/package-root.ts';
import { buildImage, writeFiles } from '../image/build.ts';
import type { Architecture } from '../image/elf.ts';
import { ImageError } from '../image/errors.ts';
import { say } from '../output/say.ts';
import { helpText } from './mesh-options.ts';

interface SourceOptions {
  readonly arch: Architecture;
  readonly modules: string[];
  readonly systemRoot: string;
}

/** `loam image`: Loam's container image, made from files. */
export function imageCommand(): Command {
  return new Command('image')
    .description("make Loam's container image from files, without a container engine or registry")
    .addCommand(
      withSources(
        new Command('build')
          .description(
            'write an OCI image layout, an archive of it to import, and the list of its contents (SPDX)',
          )
          .option('--name <name>', 'the name that the image is imported under', 'localhost/loam:dev')
          .option('--output <folder>', 'where to', join(packageRoot(), 'build', 'image'))
          .addHelpText(
            'after',
            helpText(
              [
                ['loam image build', ''],
                [
                  'loam image build --name localhost/loam:next',
                  'for an upgrade: each build a name of its own',
                ],
              ],
              '0 done, 1 it could not be, 2 what was given is not usable',
            ),
          ),
      ).action(async (options: SourceOptions & { name: string; output: string }) => {
        const { name, output } = options;
        const created = creationTime(process.env['SOURCE_DATE_EPOCH']);
        const built = await buildImage({ ...sources(options), name, output: resolve(output), created });
        say(`${name} (linux/${built.architecture}), ${Math.round(built.size / 1e6)} MB`);
        say(`digest   ${built.digest}`);
        say(`archive  ${built.archive}`);
        say(`layout   ${built.layout}`);
        say(`contents ${built.sbom}`);
      }),
    )
    .addCommand(
      withSources(
        new Command('files')
          .description("write the image's files into a folder, as deploy/image/Containerfile wants them")
          .argument('<folder>', 'what is there is replaced')
          .addHelpText(
            'after',
            helpText(
              [['loam image files build/files', '']],
              '0 done, 1 it could not be, 2 what was given is not usable',
            ),
          ),
      ).action((folder: string, options: SourceOptions) => {
        writeFiles({ ...sources(options), output: resolve(folder) });
      }),
    );
}

function withSources(command: Command): Command {
  return command
    .addOption(
      new Option('--arch <processor>', 'the processor that the image is for')
        .choices(['amd64', 'arm64'])
        .default(process.arch === 'arm64' ? 'arm64' : 'amd64'),
    )
    .option(
      '--modules <folder>',
      'a folder with packages of npm for that processor; may be repeated',
      (folder, list: string[]) => [...list, folder],
      [] as string[],
    )
    .option('--system-root <folder>', 'the system whose libraries are taken', '/');
}

function sources({ arch, modules, systemRoot }: SourceOptions): {
  architecture: Architecture;
  modules: string[];
  systemRoot: string;
} {
  return {
    architecture: arch,
    modules: modules.map((folder) => resolve(folder)),
    systemRoot: resolve(systemRoot),
  };
}

/** The same input makes the same image, so the time is told by whoever wants one (reproducible-builds.org). */
function creationTime(seconds = '0'): Date {
  if (!/^\d{1,11}$/.test(seconds))
    throw new ImageError(
      'IMAGE_INPUT',
      `SOURCE_DATE_EPOCH ${JSON.stringify(seconds)}: allowed are seconds since 1970`,
    );
  return new Date(Number(seconds) * 1000);
}
