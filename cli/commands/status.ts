import { Command } from 'commander';
import { ClusterObjects } from '../mesh/cluster/objects.ts';
import { requireNamespace } from '../mesh/cluster/namespace.ts';
import { clusterStatus } from '../mesh/cluster/status.ts';
import { clusterStatusLines } from '../look/cluster-status-text.ts';
import { LocalReader } from '../mesh/local-reader.ts';
import { problemsOf } from '../local/problems.ts';
import { meshStatus } from '../local/status.ts';
import { statusInNamespace } from '../local/status-in-namespace.ts';
import { statusText } from '../local/status-text.ts';
import { coloursFor } from '../output/colours.ts';
import { print, withOutput, type OutputFlag } from '../output/print.ts';
import { chooseMesh, EXIT_NO, helpText, inNamespace, onMesh, type MeshOptions } from './mesh-options.ts';

/** `loam status`: how the mesh is, local or of a cluster. */
export function statusCommand(): Command {
  return withOutput(inNamespace(onMesh(new Command('status'))))
    .description('how the programs of the mesh are, which pods are in it, and all that is not well')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam status', 'of the local mesh where it runs, else of the cluster of the kubeconfig'],
          ['loam status -n shop', 'of the pods and objects those of one namespace; in a cluster each pod'],
          ['loam status --context staging -o json', 'for scripts'],
        ],
        `0 all is well, ${EXIT_NO} something is not, 1 it cannot be told, 2 what was given is not usable`,
      ),
    )
    .action(status);
}

async function status(flags: MeshOptions & OutputFlag): Promise<void> {
  const chosen = await chooseMesh(flags);
  if (chosen.kind === 'local') {
    await LocalReader.open(chosen.mesh);
    const all = await meshStatus(chosen.mesh);
    const problems = problemsOf(all);
    const shown = flags.namespace === undefined ? all : statusInNamespace(all, flags.namespace);
    await print(flags.output, { ...shown, problems }, () => statusText(all, shown).trimEnd().split('\n'));
    process.exitCode = problems.length === 0 ? 0 : EXIT_NO;
    return;
  }
  await requireNamespace(new ClusterObjects(chosen.reader.api, []), flags.namespace);
  const all = await clusterStatus(chosen.reader);
  await print(flags.output, all, () => clusterStatusLines(all, flags.namespace, coloursFor(process.stdout)));
  process.exitCode = all.problems.length === 0 ? 0 : EXIT_NO;
}
