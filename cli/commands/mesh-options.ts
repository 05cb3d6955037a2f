/** What all commands take that look at a mesh: a local one, or a cluster's. */
import type { Command } from 'commander';
import { ClusterApi } from '../install/cluster/api.ts';
import { InstallError } from '../install/errors.ts';
import { checkMeshName, DEFAULT_MESH } from '../local/names.ts';
import { runningMesh } from '../local/up.ts';
import { ClusterReader } from '../mesh/cluster/reader.ts';
import { MeshError } from '../mesh/errors.ts';
import { LocalReader } from '../mesh/local-reader.ts';
import type { MeshReader } from '../mesh/reader.ts';
import { complain } from '../output/say.ts';
import { DEFAULT_SYSTEM_NAMESPACE } from './cluster-options.ts';

/** What was found is not as one would have it: a connection is not allowed, a check does not hold. */
export const EXIT_NO = 3;

export interface MeshOptions {
  /** Of a local mesh. */
  readonly name?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly systemNamespace?: string;
  /** Of a cluster: where to look when the user may not look everywhere. */
  readonly namespace?: string;
}

/** Which mesh is asked. */
export type MeshChoice =
  | { readonly kind: 'local'; readonly mesh: string }
  | { readonly kind: 'cluster'; readonly reader: ClusterReader };

const opened: MeshReader[] = [];

/** Adds what says which mesh. */
export function onMesh(command: Command): Command {
  return command
    .option('--name <mesh>', `which local mesh; by default ${DEFAULT_MESH} where it runs, else a cluster`)
    .option('--kubeconfig <file>', 'which cluster, and as whom; by default KUBECONFIG or ~/.kube/config')
    .option('--context <name>', 'context of the kubeconfig')
    .option(
      '--system-namespace <name>',
      `where Loam runs in the cluster; by default ${DEFAULT_SYSTEM_NAMESPACE}`,
    );
}

/** Adds `-n`, as kubectl has it. */
export function inNamespace(command: Command): Command {
  return command.option(
    '-n, --namespace <name>',
    "of names without one; and where to look in a cluster when you may not look everywhere, by default the kubeconfig's",
  );
}

/** A name that is given without a namespace, with that of `-n`. */
export function wordIn({ namespace }: MeshOptions, word: string): string {
  if (namespace === undefined) return word;
  const [, kind = '', name] = /^((?:pods?|services?|svc)\/)?([a-z0-9-]+(?::\d+)?)$/.exec(word) ?? [];
  return name === undefined ? word : `${kind}${namespace}/${name}`;
}

/**
 * The local mesh that is named, or a cluster where one is named; else the local mesh where it runs, else the cluster of the kubeconfig.
 *
 * @throws MeshError MESH_INPUT, MESH_STATE; InstallError, ApiError
 */
export async function chooseMesh(options: MeshOptions, words: readonly string[] = []): Promise<MeshChoice> {
  const { name, kubeconfig, context, systemNamespace } = options;
  const isCluster = kubeconfig !== undefined || context !== undefined || systemNamespace !== undefined;
  if (name !== undefined && isCluster)
    throw new MeshError(
      'MESH_INPUT',
      '--name is of a local mesh, --kubeconfig, --context and --system-namespace of a cluster: give one of both',
    );
  if (name !== undefined) return { kind: 'local', mesh: checkMeshName(name) };
  if (!isCluster && (await runningMesh(DEFAULT_MESH)) !== undefined)
    return { kind: 'local', mesh: DEFAULT_MESH };
  const reader = await openCluster(options, words, isCluster);
  opened.push(reader);
  return { kind: 'cluster', reader };
}

async function openCluster(
  options: MeshOptions,
  words: readonly string[],
  isNamed: boolean,
): Promise<ClusterReader> {
  const { kubeconfig, context, systemNamespace: system = DEFAULT_SYSTEM_NAMESPACE, namespace } = options;
  const choice = {
    ...(kubeconfig !== undefined && { kubeconfig }),
    ...(context !== undefined && { context }),
  };
  if (!isNamed)
    await ClusterApi.open(choice).catch((cause: unknown) => {
      if (!(cause instanceof InstallError)) throw cause;
      throw new MeshError(
        'MESH_STATE',
        `there is no mesh ${DEFAULT_MESH}, and no cluster: ${cause.message}; start one: loam local up DIR, or loam demo and here --name demo`,
        { cause },
      );
    });
  const spoken = words.flatMap((word) => /^(?:[a-z]+\/)?([a-z0-9-]+)\/[^/]+$/.exec(word)?.[1] ?? []);
  return ClusterReader.open({
    ...choice,
    system,
    namespaces: [...(namespace === undefined ? [] : [namespace]), ...spoken],
  });
}

/**
 * Opens what {@link chooseMesh} chooses.
 *
 * @param words names that were given: their namespaces are looked at when the user may not look at all
 * @throws MeshError MESH_STATE when it does not run
 */
export async function openMesh(options: MeshOptions, words: readonly string[] = []): Promise<MeshReader> {
  const choice = await chooseMesh(options, words);
  if (choice.kind === 'cluster') return choice.reader;
  return LocalReader.open(choice.mesh);
}

/** Says on the error output what the answers left out for want of rights. */
export function tellMissing(): void {
  const lines = opened.flatMap((reader) => reader.missing());
  for (const line of new Set(lines)) complain(`loam: left out: ${line}`);
}

/** The one form of help: examples, then what the exit codes mean. */
export function helpText(
  examples: readonly (readonly [command: string, what: string])[],
  exitCodes: string,
  more = '',
): string {
  const width = Math.max(...examples.map(([command]) => command.length));
  const lines = examples.map(([command, what]) => `  ${command.padEnd(width)}   ${what}`.trimEnd());
  return `${more === '' ? '' : `\n${more}\n`}\nExamples:\n${lines.join('\n')}\n\nExit codes: ${exitCodes}.`;
}
