import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { check, findingText } from '../../../../cli/install/check/check.ts';
import { FakeCluster } from './fake-cluster.ts';

/** A Gateway of Loam's class, with what is said of it. */
function waypoint(programmed: string): object {
  return {
    ...{ apiVersion: 'gateway.networking.k8s.io/v1', kind: 'Gateway' },
    metadata: { name: 'way', namespace: 'shop' },
    spec: { gatewayClassName: 'loam-waypoint', listeners: [] },
    status: {
      conditions: [
        { type: 'Accepted', status: 'True', message: '' },
        { type: 'Programmed', status: programmed, message: 'no instance is ready' },
      ],
    },
  };
}

describe('loam check of what people have written', () => {
  const BROKEN: readonly (readonly [what: string, breakIt: (cluster: FakeCluster) => void, said: RegExp])[] =
    [
      [
        'a policy that was rejected',
        (cluster) =>
          cluster.put({
            ...{ apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy' },
            metadata: { name: 'typo', namespace: 'shop' },
            status: { conditions: [{ type: 'Accepted', status: 'False', message: 'unknown attribute "x"' }] },
          }),
        /AuthorizationPolicy shop\/typo: is not in force as written: unknown attribute "x"\n.*kubectl edit authorizationpolicies --namespace shop typo/,
      ],
      [
        'a waypoint that is not in force',
        (cluster) => cluster.put(waypoint('False')),
        /waypoint shop\/way: is not in force, .* is refused: no instance is ready\n/,
      ],
      [
        'a Service whose waypoint nobody made',
        (cluster) => {
          cluster.put(waypoint('True'));
          const service = (name: string, labels: object): object => ({
            ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'shop', labels }, spec: {} },
          });
          cluster.put(service('good', { 'loam.dev/use-waypoint': 'way' }));
          cluster.put(service('none', { 'loam.dev/use-waypoint': 'none' }));
          cluster.put(
            service('lost', { 'loam.dev/use-waypoint': 'way', 'loam.dev/use-waypoint-namespace': 'infra' }),
          );
        },
        /Service shop\/lost: .*there is no waypoint infra\/way: what is sent to it is refused\n.*loam waypoint apply way -n infra/,
      ],
      [
        'a misspelt waypoint of a pod, and of none that has ended',
        (cluster) => {
          cluster.put(waypoint('True'));
          const labels = { 'loam.dev/use-waypoint': 'wya' };
          const pod = (name: string, phase: string): object => ({
            ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'shop', labels } },
            ...{ spec: {}, status: { phase } },
          });
          cluster.put(pod('web', 'Running'));
          cluster.put(pod('job', 'Succeeded'));
        },
        /Pod shop\/web: .*no waypoint shop\/wya.*\n.*loam waypoint apply wya -n shop --wait; or mend the label: in what makes the pod; for this one: kubectl label pod web -n shop --overwrite loam\.dev\/use-waypoint=way$/,
      ],
    ];
  for (const [what, breakIt, said] of BROKEN)
    it(`names ${what}, and what to do`, async () => {
      const cluster = new FakeCluster();
      breakIt(cluster);
      const failed: string[] = [];
      const good = await check(cluster.subject(), (finding) => {
        if (finding.state === 'fail') failed.push(findingText(finding));
      });
      assert.equal(good, false);
      assert.equal(failed.length, 1, failed.join('\n'));
      assert.match(failed[0] ?? '', said);
      assert.match(failed[0] ?? '', /\n {4}→ \S/, 'a mend is named');
    });
});
