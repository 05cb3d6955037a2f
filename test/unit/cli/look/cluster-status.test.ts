import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { clusterStatusLines } from '../../../../cli/look/cluster-status-text.ts';
import type { ManifestProblem } from '../../../../cli/local/status.ts';
import { controllerProblems, controllerWarnings } from '../../../../cli/mesh/cluster/controller-words.ts';
import { requireNamespace } from '../../../../cli/mesh/cluster/namespace.ts';
import type { ClusterStatus } from '../../../../cli/mesh/cluster/status.ts';
import { NO_COLOURS } from '../../../../cli/output/colours.ts';

const WELL: ClusterStatus = {
  ...{
    cluster: 'cluster c',
    system: 'loam-system',
    programs: [],
    asked: [],
    silent: [],
    problems: [],
    warnings: [],
  },
  pods: [{ namespace: 'shop', name: 'web', node: 'n', state: 'verified', unguarded: [] }],
};

const textOf = (status: ClusterStatus, namespace?: string): string =>
  clusterStatusLines(status, namespace, NO_COLOURS).join('\n');

function said(...problems: (Partial<ManifestProblem> & Pick<ManifestProblem, 'object'>)[]): {
  problems: string[];
  warnings: string[];
} {
  const all = problems.map((each): ManifestProblem => ({
    ...{ severity: 'warning', file: 'f', message: 'odd' },
    ...each,
  }));
  const controller = { generation: 1, objects: [], nodes: [], files: [{ file: 'f', problems: all }] };
  const texts = (found: readonly { what: string; why: string }[]): string[] =>
    found.map(({ what, why }) => `${what}: ${why}`);
  return {
    problems: texts(controllerProblems(controller)),
    warnings: texts(controllerWarnings(controller, new Set(['shop']))),
  };
}

describe("status of a cluster's mesh", () => {
  it('says that all is well only where nothing is odd', () => {
    assert.match(textOf(WELL), /\nAll is well\.$/);
    const odd = { what: 'Namespace mine', why: 'unknown label' };
    const warned = textOf({ ...WELL, warnings: [odd, odd] });
    assert.match(
      warned,
      /\nWARNINGS\n {2}Namespace mine: unknown label\n[^]*\n2 warnings; all programs run\.$/,
    );
    const bad = textOf({ ...WELL, warnings: [odd], problems: [odd] });
    assert.match(bad, /WARNINGS\n[^]*\nNOT WELL\n {2}Namespace mine: unknown label$/);
    assert.doesNotMatch(bad, /all programs run/);
  });

  it('names what goes on in plaintext, and how it is ended', () => {
    const pods = WELL.pods.map((pod) => ({ ...pod, earlier: { count: 2, cutAt: 'T' } }));
    const line =
      /STILL PLAIN\n {2}pod shop\/web: 2 connections .* go on in plaintext; they are cut at T\n.*kubectl rollout restart/;
    assert.match(textOf({ ...WELL, pods }), line);
    assert.match(textOf({ ...WELL, pods }, 'shop'), line);
    assert.doesNotMatch(textOf({ ...WELL, pods }, 'other'), /STILL PLAIN/);
  });

  it('takes a label of a waypoint that is not there for a problem, and other labels for warnings anywhere', () => {
    const namespace = { kind: 'Namespace', namespace: '', name: 'mine' };
    const field = 'metadata.labels["x"]';
    const waypoint = 'metadata.labels["loam.dev/use-waypoint"]';
    assert.deepEqual(said({ object: namespace, field: waypoint }, { object: namespace, field }), {
      problems: [`Namespace mine: ${waypoint}: odd`],
      warnings: [`Namespace mine: ${field}: odd`],
    });
  });

  it("passes over what is odd in Kubernetes' own objects of namespaces that are not in the mesh", () => {
    const service = (home: string): NonNullable<ManifestProblem['object']> => ({
      kind: 'Service',
      namespace: home,
      name: 's',
    });
    const policy = { kind: 'AuthorizationPolicy', namespace: 'elsewhere', name: 'p' };
    const { warnings } = said(
      ...[{ object: service('shop') }, { object: service('kube-system') }, { object: policy }],
    );
    assert.deepEqual(warnings, ['Service shop/s: odd', 'AuthorizationPolicy elsewhere/p: odd']);
  });

  it('knows a namespace that is not there, unless namespaces may not be seen', async () => {
    const objects = (missing?: string): Parameters<typeof requireNamespace>[0] => ({
      list: <T>() => Promise.resolve((missing === undefined ? [{ metadata: { name: 'mine' } }] : []) as T[]),
      missingFor: () => missing,
    });
    await requireNamespace(objects(), 'mine');
    await requireNamespace(objects('no right'), 'mien');
    await assert.rejects(
      requireNamespace(objects(), 'mien'),
      /there is no namespace "mien"; did you mean mine\?/,
    );
    await assert.rejects(requireNamespace(objects(), 'quite-other'), /"quite-other"; there are: mine$/);
  });
});
