import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { problemsOf } from '../../../../cli/local/problems.ts';
import { statusText } from '../../../../cli/local/status-text.ts';
import { warningsOf } from '../../../../cli/local/warnings.ts';
import type { ManifestProblem, MeshStatus, ObjectStatus } from '../../../../cli/local/status.ts';
import { status } from './support/mesh-status.ts';

function withManifests(objects: readonly ObjectStatus[], problems: readonly ManifestProblem[]): MeshStatus {
  const files = [{ file: 'a.yaml', problems }];
  return status([], { controller: { generation: 1, objects, files, nodes: [] } });
}

const texts = (of: MeshStatus): string[] => warningsOf(of).map(({ what, why }) => `${what}: ${why}`);
const policy: ObjectStatus = {
  ...{ kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p', file: 'a.yaml', line: 3 },
  ...{ state: 'accepted', warnings: ['selects no pod'], compiledTo: [], lastGood: false },
};

describe('local mesh: warnings', () => {
  it('shows what is passed over, with its place', () => {
    const of = withManifests(
      [],
      [
        {
          severity: 'warning',
          file: 'a.yaml',
          line: 7,
          field: 'kind',
          value: '"Deployment"',
          message: 'not read',
        },
      ],
    );
    assert.deepEqual(texts(of), ['a.yaml:7: kind is "Deployment": not read']);
    assert.match(statusText(of), /WARNINGS\n {2}a\.yaml:7: kind .*\n\n1 warning; all programs run\.\n$/);
  });

  it('lets the name of a file forge no line', () => {
    const file = 'a\n0 warnings; all programs run.\u001b[8m.yaml';
    const of = withManifests([], [{ severity: 'warning', file, message: 'not read' }]);
    assert.deepEqual(texts(of), ['a\\x0a0 warnings; all programs run.\\x1b[8m.yaml: not read']);
  });

  it('shows a warning about an object once, with the field where it is known', () => {
    assert.deepEqual(texts(withManifests([policy], [])), [
      'AuthorizationPolicy shop/p (a.yaml:3): selects no pod',
    ]);
    const { kind, namespace, name } = policy;
    const problem: ManifestProblem = {
      ...{ severity: 'warning', file: 'a.yaml', line: 5, field: 'spec.selector', message: 'selects no pod' },
      object: { kind, namespace, name },
    };
    assert.deepEqual(texts(withManifests([policy], [problem])), [
      'AuthorizationPolicy shop/p (a.yaml:5): spec.selector: selects no pod',
    ]);
  });

  it('shows what waits, but for pods, which are a problem', () => {
    const pending = { ...policy, warnings: [], state: 'pending' as const, message: 'no gateway' };
    assert.deepEqual(texts(withManifests([pending, { ...pending, kind: 'Pod' }], [])), [
      'AuthorizationPolicy shop/p (a.yaml:3): pending: no gateway',
    ]);
  });

  it('counts a waypoint that there is not among what is not well, once: connections are refused', () => {
    const object = { kind: 'Service', namespace: 'shop', name: 'payments' };
    const why = 'there is no Gateway "waypont" in namespace shop, so connections are refused';
    const of = withManifests(
      [
        {
          ...{ ...object, file: 'a.yaml', line: 3, state: 'accepted', compiledTo: [], lastGood: false },
          warnings: [why],
        },
      ],
      [
        {
          ...{ severity: 'warning', file: 'a.yaml', line: 6, object, message: why },
          ...{ field: 'metadata.labels["loam.dev/use-waypoint"]', value: '"waypont"' },
        },
      ],
    );
    assert.deepEqual(texts(of), []);
    const [problem, ...more] = problemsOf(of);
    assert.deepEqual(more, []);
    assert.equal(problem?.what, 'Service shop/payments (a.yaml:6)');
    assert.match(problem.why, /no Gateway "waypont" in namespace shop, so connections are refused/);
    assert.equal(problem.blocksStart, false, 'a mesh with it still starts');
    const text = statusText(of);
    assert.match(text, /NOT WELL\n {2}Service shop\/payments/);
    assert.doesNotMatch(text, /All is well|WARNINGS/);
  });
});
