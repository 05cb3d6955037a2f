import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { check, findingText } from '../../../../cli/install/check/check.ts';
import type { Finding } from '../../../../cli/install/check/finding.ts';
import { FakeCluster } from './fake-cluster.ts';

describe('loam check of objects', () => {
  it('says what the controllers say of labels and policies, each label with its mend', async () => {
    const cluster = new FakeCluster();
    const warning = (kind: string, namespace: string, name: string, rest: object): object => ({
      file: `${kind}/${namespace}/${name}`,
      problems: [{ severity: 'warning', object: { kind, namespace, name }, ...rest }],
    });
    const label = (key: string): { field: string } => ({ field: `metadata.labels["${key}"]` });
    const files = [
      warning('Namespace', '', 'a', {
        ...label('loam.dev/dataplan-mode'),
        message: 'unknown label "loam.dev/dataplan-mode"; did you mean "loam.dev/dataplane-mode"?',
      }),
      warning('Namespace', '', 'b', {
        ...{ ...label('loam.dev/dataplane-mode'), value: '"enabled"', message: 'is not allowed' },
        allowed: 'ambient, observe, none',
      }),
      warning('Pod', 'c', 'p', {
        ...label('istio.io/dataplane-mode'),
        message:
          'the label istio.io/dataplane-mode has no effect here; did you mean loam.dev/dataplane-mode?',
      }),
      // What the labels themselves say is not said again for what the controllers warn of.
      warning('Pod', 'shop', 'web', {
        ...{ ...label('loam.dev/use-waypoint'), value: '"wapoint"' },
        message:
          'there is no Gateway "wapoint" in namespace shop, so connections are refused; did you mean "waypoint"?',
      }),
      // Of a namespace in the mesh, and of one that is not.
      warning('Service', 'shop', 'dns', { field: 'spec.ports', message: 'the mesh carries TCP alone' }),
      warning('Service', 'kube-system', 'dns', {
        field: 'spec.ports',
        message: 'the mesh carries TCP alone',
      }),
    ];
    cluster.agents.set('controller-node1', { gates: [], files, objects: [] });
    const all: Finding[] = [];
    const good = await check(cluster.subject(), (finding) => all.push(finding));
    const failed = all.filter(({ state }) => state === 'fail').map(findingText);
    assert.equal(good, false);
    assert.deepEqual(
      failed.map((text) => text.replace(/: metadata[^]*→ /, ' → ')),
      [
        '✗ Namespace a → mend the label: kubectl label namespace a loam.dev/dataplan-mode- loam.dev/dataplane-mode=ambient',
        '✗ Namespace b → mend the label: kubectl label namespace b --overwrite loam.dev/dataplane-mode=ambient',
        '✗ Pod c/p → mend the label: in what makes the pod; for this one: kubectl label pod p -n c istio.io/dataplane-mode- loam.dev/dataplane-mode=ambient',
      ],
    );
    const notes = all.filter(({ text }) => text.includes('TCP alone')).map(({ what }) => what);
    assert.deepEqual(notes, ['Service shop/dns']);
    assert.ok(!all.some(({ text }) => text.includes('wapoint')));
  });
});
