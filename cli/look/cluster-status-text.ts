/** What `loam status` prints of a cluster. */
import { verdictText } from '../local/warnings.ts';
import { earlierLines, EARLIER_MEND } from '../mesh/earlier.ts';
import type { ClusterStatus, EnrolledStatus, ProgramStatus } from '../mesh/cluster/status.ts';
import type { Colours } from '../output/colours.ts';
import { tableLines } from '../output/table.ts';
import { countText } from '../output/words.ts';

const MAX_PROBLEMS = 30;

/** @param namespace whose pods are told each; undefined: each namespace in a line */
export function clusterStatusLines(
  { cluster, system, programs, pods, silent, problems, warnings }: ClusterStatus,
  namespace: string | undefined,
  colours: Colours,
): string[] {
  const { bold, good, bad } = colours;
  const shown = problems.slice(0, MAX_PROBLEMS);
  return [
    bold(`${cluster}, Loam in namespace ${system}`),
    '',
    bold('PROGRAMS'),
    ...tableLines(
      programs.map((program) => programRow(program, colours)),
      [],
      '  ',
    ),
    '',
    ...(namespace === undefined ? namespaceLines(pods, silent, colours) : podLines(pods, namespace, colours)),
    ...(silent.length === 0
      ? []
      : [colours.bad(`  and what runs on ${silent.join(', ')}, where no agent tells of it`)]),
    '',
    ...plainLines(pods, namespace, colours),
    ...warningLines(warnings, colours),
    ...(problems.length === 0
      ? [warnings.length === 0 ? good(verdictText(0)) : verdictText(warnings.length)]
      : [bold('NOT WELL'), ...shown.map(({ what, why }) => `  ${bad(what)}: ${why}`)]),
    ...(shown.length < problems.length ? [`  and ${problems.length - shown.length} more: -o json`] : []),
  ];
}

/** What the programs deny of themselves, since none of them carries it. */
function plainLines(
  pods: readonly EnrolledStatus[],
  namespace: string | undefined,
  { bold, odd }: Colours,
): string[] {
  const plain = pods.flatMap(({ earlier, ...pod }) =>
    earlier === undefined || (namespace !== undefined && pod.namespace !== namespace)
      ? []
      : [{ ...earlier, namespace: pod.namespace, name: pod.name }],
  );
  if (plain.length === 0) return [];
  return [
    bold('STILL PLAIN'),
    ...earlierLines(plain).map((line) => `  ${odd(line)}`),
    `  ${EARLIER_MEND}`,
    '',
  ];
}

function warningLines(warnings: ClusterStatus['warnings'], { bold, odd }: Colours): string[] {
  if (warnings.length === 0) return [];
  const shown = warnings.slice(0, MAX_PROBLEMS);
  return [
    bold('WARNINGS'),
    ...shown.map(({ what, why }) => `  ${odd(what)}: ${why}`),
    ...(shown.length < warnings.length ? [`  and ${warnings.length - shown.length} more: -o json`] : []),
    '',
  ];
}

function programRow(
  { program, namespace, pod, node, restarts, problem }: ProgramStatus,
  colours: Colours,
): string[] {
  return [
    program,
    `${namespace}/${pod}`,
    node === '' ? '-' : node,
    countText(restarts, 'restart'),
    problem === undefined ? colours.good('ready') : colours.bad('NOT READY'),
  ];
}

function namespaceLines(
  pods: readonly EnrolledStatus[],
  silent: readonly string[],
  colours: Colours,
): string[] {
  if (pods.length === 0 && silent.length > 0) return ['Of no pod it is known whether it is in the mesh.'];
  if (pods.length === 0)
    return ['No pod is in the mesh: label a namespace, loam.dev/dataplane-mode=ambient, and its pods are.'];
  const rows = [...Map.groupBy(pods, ({ namespace }) => namespace)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([namespace, own]) => {
      const verified = own.filter(({ state, off }) => state === 'verified' && off === undefined).length;
      return [
        namespace,
        countText(own.length, 'pod'),
        verified === own.length
          ? colours.good('all in the mesh, verified')
          : colours.bad(`${verified} of ${own.length} in the mesh, verified`),
      ];
    });
  return [colours.bold('NAMESPACES'), ...tableLines(rows, [1], '  ')];
}

function podLines(pods: readonly EnrolledStatus[], namespace: string, colours: Colours): string[] {
  const own = pods
    .filter((pod) => pod.namespace === namespace)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  if (own.length === 0) return [`No pod of ${namespace} is in the mesh.`];
  const rows = own.map((pod) => [pod.name, pod.node, stateText(pod, colours)]);
  return [colours.bold(`PODS OF ${namespace}`), ...tableLines(rows, [], '  ')];
}

function stateText({ state, off, unguarded }: EnrolledStatus, { good, bad, odd }: Colours): string {
  if (off !== undefined) return bad('SWITCHED OFF (plain networking)');
  switch (state) {
    case 'verified':
      return unguarded.length === 0
        ? good('in the mesh, verified')
        : odd(`in the mesh, verified; NOT GUARDED: ${unguarded.join(', ')}`);
    case 'claimed':
      return bad('enrolled, NOT VERIFIED');
    case 'waiting':
      return odd('waits to be enrolled');
    case 'leaving':
      return odd('leaves the mesh');
    case 'left-alone':
      return bad('NOT IN THE MESH, and its labels say that it should be');
  }
}
