import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { findPod, findTarget } from '../../../../cli/mesh/find.ts';
import type { MeshReader } from '../../../../cli/mesh/reader.ts';
import { NO_COLOURS } from '../../../../cli/output/colours.ts';
import { explain } from '../../../../cli/why/explain.ts';
import type { Explanation } from '../../../../cli/why/model.ts';
import { whyLines } from '../../../../cli/why/text.ts';
import { World } from '../../../../cli/why/world.ts';
import { MeshError } from '../../../../cli/mesh/errors.ts';
import { fakeMesh, portPolicy, type FakeMeshOptions } from '../mesh/fake-mesh.ts';

async function ask(reader: MeshReader, from: string, to: string): Promise<Explanation> {
  const world = await World.read(reader);
  const { target, port = 80 } = findTarget(world.inventory, to);
  return explain(world, { source: findPod(world.inventory, from), target, port });
}

const MESH: FakeMeshOptions = {
  pods: [
    { name: 'a', ip: '10.0.0.1' },
    { name: 'b1', ip: '10.0.0.2', labels: { app: 'b' } },
    { name: 'b2', ip: '10.0.0.3', labels: { app: 'b' }, policies: ['m/no-8080'] },
    { name: 'out', ip: '10.0.0.4', kernel: { enrolled: false } },
  ],
  services: [{ name: 'b', vip: '10.1.0.1', port: 80, targetPort: 8080, pods: ['b1', 'b2'] }],
  policies: [portPolicy('no-8080', 'deny', 8080)],
};

describe('why', () => {
  it('says who proves what to whom, on which way', async () => {
    const { outcome, ways, dialled } = await ask(fakeMesh(MESH), 'a', 'pod/b1:8080');
    assert.equal(outcome, 'allowed');
    assert.deepEqual(dialled, ['10.0.0.2:8080']);
    assert.deepEqual(ways[0]?.hops, [
      {
        by: 'hbone',
        to: 'pod m/b1',
        clientIdentity: 'spiffe://cluster.local/ns/m/sa/a',
        serverIdentity: 'spiffe://cluster.local/ns/m/sa/b1',
      },
    ]);
  });

  it('names the policy that denies', async () => {
    const { outcome, ways } = await ask(fakeMesh(MESH), 'a', 'pod/b2:8080');
    assert.deepEqual([outcome, ways[0]?.policy, ways[0]?.endpoint], ['denied', 'm/no-8080', 'pod m/b2']);
    assert.equal(ways[0]?.policyKind, 'AuthorizationPolicy');
  });

  it('says whom the policies allow that did not allow it', async () => {
    const mesh = fakeMesh({ ...MESH, policies: [portPolicy('no-8080', 'allow', 9090)] });
    const { outcome, ways } = await ask(mesh, 'a', 'pod/b2:8080');
    assert.equal(outcome, 'denied');
    assert.equal(ways[0]?.reason, 'allow policies exist, but none allowed');
    assert.deepEqual(
      ways[0].steps.slice(-2).map(({ text, verdict }) => [verdict, text]),
      [
        ['note', 'm/no-8080 allows destination ports 9090'],
        ['denied', 'allow policies exist, but none allowed'],
      ],
    );
    const denying = await ask(fakeMesh(MESH), 'a', 'pod/b2:8080');
    assert.ok(!denying.ways[0]?.steps.some(({ text }) => text.includes(' allows ')));
  });

  it('says neither yes nor no where it could not ask somebody on the way', async () => {
    const mesh = fakeMesh(MESH);
    const unasked = {
      ...mesh,
      kernel: () => Promise.reject(new MeshError('MESH_RIGHTS', 'you have no right')),
    };
    await assert.rejects(ask(unasked, 'a', 'pod/b2:8080'), {
      code: 'MESH_RIGHTS',
      message: 'it cannot be told: you have no right',
    });
  });

  it('looks at each endpoint that may be chosen, and says that it depends', async () => {
    const explanation = await ask(fakeMesh(MESH), 'a', 'service/b:80');
    assert.equal(explanation.outcome, 'depends');
    assert.deepEqual(explanation.ways.map(({ endpoint, outcome }) => [endpoint, outcome]).sort(), [
      ['pod m/b1', 'allowed'],
      ['pod m/b2', 'denied'],
    ]);
    assert.match(
      whyLines(explanation, NO_COLOURS)[0] ?? '',
      /^DEPENDS \(1 of 2 ways are allowed\) {2}m\/a → Service m\/b port 80$/,
    );
  });

  it('knows a port that a Service has not, and endpoints that are not healthy', async () => {
    const odd = await ask(fakeMesh(MESH), 'a', 'service/b:81');
    assert.deepEqual(
      [odd.outcome, odd.ways[0]?.reason],
      ['unreachable', 'service m/b.m.svc.cluster.local has no port 81, only 80'],
    );
    const pods = MESH.pods.map((pod) => ({ ...pod, healthy: false }));
    const ill = await ask(fakeMesh({ ...MESH, pods }), 'a', 'service/b:80');
    assert.match(ill.ways[0]?.reason ?? '', /no healthy upstream/);
  });

  it('takes a pod outside of the mesh for one without identity, both ways', async () => {
    const from = await ask(fakeMesh(MESH), 'out', 'pod/b2:8080');
    assert.deepEqual([from.outcome, from.ways[0]?.hops[0]?.by], ['denied', 'plain']);
    const to = await ask(fakeMesh(MESH), 'a', 'pod/out:9');
    assert.deepEqual([to.outcome, to.ways[0]?.hops[0]?.by], ['allowed', 'plain']);
    const named = await ask(fakeMesh(MESH), 'out', 'service/b:80');
    assert.deepEqual(named.dialled, ['10.0.0.2:80', '10.0.0.3:80'], 'a name leads it to the pods');
  });

  it('does as the kernel does with what is switched off', async () => {
    const pods = MESH.pods.map((pod) =>
      pod.name === 'b2' ? { ...pod, kernel: { enrolled: true, off: '2026-01-01T00:00:00.000Z' } } : pod,
    );
    const { outcome, kernel } = await ask(fakeMesh({ ...MESH, pods }), 'out', 'pod/b2:8080');
    assert.equal(outcome, 'allowed');
    assert.equal(kernel['m/b2']?.off, '2026-01-01T00:00:00.000Z');
  });

  it('tells what a policy on trial would do, and lets it pass', async () => {
    const mesh = fakeMesh({ ...MESH, policies: [portPolicy('no-8080', 'deny', 8080, true)] });
    const { outcome, ways } = await ask(mesh, 'a', 'pod/b2:8080');
    assert.equal(outcome, 'allowed');
    assert.ok(ways[0]?.steps.some(({ text }) => text === 'policy m/no-8080, on trial, would deny it'));
  });

  it('denies by rules at the source, before anything is dialled', async () => {
    const egress = {
      workloads: [
        {
          kind: 'workload',
          uid: 'Kubernetes//Pod/m/a',
          policies: ['m/only-b'],
          unknownDestinations: 'allow',
        },
      ],
      policies: [
        {
          kind: 'policy',
          key: 'm/only-b',
          rules: [
            {
              ...{ services: ['m/b.m.svc.cluster.local'], serviceAccounts: [], principals: [] },
              ...{ namespaces: [], blocks: [], ports: [] },
            },
          ],
        },
      ],
    };
    const pods = MESH.pods.map(({ policies: _, ...pod }) => pod);
    const mesh = fakeMesh({ ...MESH, pods, egress });
    assert.equal((await ask(mesh, 'a', 'service/b:80')).outcome, 'allowed');
    const { outcome, ways } = await ask(mesh, 'a', 'pod/b1:8080');
    assert.deepEqual([outcome, ways[0]?.policy, ways[0]?.hops], ['denied', 'm/only-b', []]);
    assert.equal(ways[0]?.policyKind, 'EgressPolicy');
    assert.match((await ask(mesh, 'b1', 'pod/a:80')).ways[0]?.reason ?? '', /not known/);
  });

  it('cannot dial the family of which it has no address, nor the ports of the mesh', async () => {
    const six = await ask(fakeMesh(MESH), 'a', '[fd00::1]:80');
    assert.match(six.ways[0]?.reason ?? '', /the kernel has no way to fd00::1/);
    const own = await ask(fakeMesh(MESH), 'a', 'pod/b1:15008');
    assert.equal(own.ways[0]?.reason, 'port 15008 belongs to the mesh');
  });
});
