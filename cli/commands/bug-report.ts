import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { collectReport } from '../bug-report/collect.ts';
import { collectClusterReport } from '../bug-report/collect-cluster.ts';
import { writeArchive } from '../bug-report/archive.ts';
import { MeshError } from '../mesh/errors.ts';
import { LocalReader } from '../mesh/local-reader.ts';
import { say } from '../output/say.ts';
import { countText } from '../output/words.ts';
import { helpText, inNamespace, onMesh, chooseMesh, type MeshOptions } from './mesh-options.ts';

/** `loam bug-report`: all that helps to understand a mesh, in one file, without secrets. */
export function bugReportCommand(): Command {
  return inNamespace(onMesh(new Command('bug-report')))
    .description('status, configuration, logs and manifests of the mesh in one archive, without secrets')
    .option('--file <path>', 'where to; by default loam-bug-report-MESH-TIME.tar.gz here')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam bug-report', ''],
          ['loam bug-report --context staging', 'of a cluster, as far as your own rights let you see it'],
          [
            'loam bug-report --file /tmp/report.tar.gz && tar tzf /tmp/report.tar.gz',
            'look before you send it',
          ],
        ],
        '0 written, 1 it cannot be, 2 what was given is not usable',
        'Left out: private keys, tokens, passwords, data of Secrets, values of environments, and what looks like one of them. Names, addresses\nand paths of requests stay: look through it before it leaves your hands.',
      ),
    )
    .action(async (flags: MeshOptions & { file?: string }) => {
      const stamp = new Date().toISOString().replaceAll(/[:-]|\.\d+/g, '');
      const choice = await chooseMesh(flags);
      const mesh =
        choice.kind === 'local' ? choice.mesh : choice.reader.api.context.replaceAll(/[^\w.-]+/g, '_');
      const file = flags.file ?? `loam-bug-report-${mesh}-${stamp}.tar.gz`;
      if (existsSync(file))
        throw new MeshError('MESH_INPUT', `${file} exists already: name another with --file`);
      const files =
        choice.kind === 'local'
          ? await collectReport(mesh, await LocalReader.open(mesh))
          : await collectClusterReport(choice.reader);
      await writeArchive(file, files);
      say(
        `${file}: ${countText(files.length, 'file')}, without secrets. Look through it before you send it.`,
      );
    });
}
