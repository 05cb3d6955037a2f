import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { certificateLines, heldCertificates } from '../../../../cli/look/certs.ts';
import { differenceText, dumpDifferences, readProgram } from '../../../../cli/look/config-diff.ts';
import { connectionLines, openConnections } from '../../../../cli/look/connections.ts';
import { describePod, describeService } from '../../../../cli/look/describe.ts';
import { podLines, serviceLines } from '../../../../cli/look/describe-text.ts';
import type { MeshReader } from '../../../../cli/mesh/reader.ts';
import { NO_COLOURS } from '../../../../cli/output/colours.ts';
import { World } from '../../../../cli/why/world.ts';
import { fakeMesh, portPolicy, type FakeMeshOptions } from '../mesh/fake-mesh.ts';

const MESH: FakeMeshOptions = {
  pods: [
    { name: 'a', ip: '10.0.0.1', policies: ['m/gone'] },
    { name: 'b', ip: '10.0.0.2', labels: { app: 'b' }, policies: ['m/no-80'] },
    { name: 'out', ip: '10.0.0.4', kernel: { enrolled: false } },
  ],
  services: [
    { name: 'b', vip: '10.1.0.1', port: 80, targetPort: 8080, pods: ['b'] },
    { name: 'empty', vip: '10.1.0.2', port: 80, targetPort: 8080, pods: [] },
  ],
  policies: [portPolicy('no-80', 'deny', 80)],
};

/** With other answers of ztunnel for some paths. */
function answering(answers: Readonly<Record<string, unknown>>): MeshReader {
  const mesh = fakeMesh(MESH);
  return {
    ...mesh,
    get: (program, path) => (path in answers ? Promise.resolve(answers[path]) : mesh.get(program, path)),
  };
}

describe('describe', () => {
  it('tells all about a pod, and what is not well with it', async () => {
    const world = await World.read(fakeMesh(MESH));
    const [a, b, out] = world.inventory.pods;
    assert.ok(a && b && out);
    const view = await describePod(world, b);
    assert.deepEqual(view.problems, []);
    assert.deepEqual(view.policies, [{ name: 'm/no-80', action: 'deny', onTrial: false }]);
    assert.deepEqual(view.services, ['m/b 80→8080']);
    const text = podLines(view, NO_COLOURS, Date.now()).join('\n');
    assert.match(text, /^identity +cluster\.local\/ns\/m\/sa\/b$/m);
    assert.match(text, /^ {2}DENY m\/no-80$/m);
    const missing = await describePod(world, a);
    assert.match(missing.policies[0]?.unsupported ?? '', /listed and not known/);
    const outside = await describePod(world, out);
    assert.deepEqual([outside.problems, outside.workload?.tunnel], [[], 'none']);
  });

  it('says of a pod what is not known, that it does not run yet, and what allows nothing', async () => {
    const nothing = { ...portPolicy('no-80', 'allow', 80), rules: [] };
    const mesh = fakeMesh({ ...MESH, policies: [nothing] });
    const kernel = { enrolled: false, unknown: true, unread: 'no agent of node-a answers' } as const;
    const world = await World.read({ ...mesh, kernel: () => Promise.resolve(kernel) });
    const [, b] = world.inventory.pods;
    assert.ok(b);
    const view = await describePod(world, b);
    assert.deepEqual(view.problems, [
      'what the kernel of node-a has for it is not known: no agent of node-a answers',
    ]);
    assert.match(podLines(view, NO_COLOURS, 0).join('\n'), /ALLOW m\/no-80, which allows nothing/);
    const [why] = (await describePod(world, { ...b, ips: [], ready: false })).problems;
    assert.match(why ?? '', /no address yet, .*kubectl describe pod --namespace m b says/);
  });

  it('tells all about a Service, and what is not well with it', async () => {
    const world = await World.read(fakeMesh(MESH));
    const [b, empty] = world.inventory.services;
    assert.ok(b && empty);
    const view = await describeService(world, b);
    assert.deepEqual(view.problems, []);
    const text = serviceLines(view, NO_COLOURS).join('\n');
    assert.match(text, /^m\/b +node-a +10\.0\.0\.2 +HBONE +healthy +m\/no-80$/m);
    assert.deepEqual((await describeService(world, empty)).problems, [
      'it has no endpoint: no pod matches its selector',
    ]);
    const unknown = await describeService(world, { ...b, name: 'other' });
    assert.match(unknown.problems[0] ?? '', /no node knows it/);
  });
});

describe('connections', () => {
  const row = {
    ...{ id: 1, direction: 'inbound', state: 'open', since: '2026-01-01T00:00:00.000Z' },
    ...{ bytesSent: 10, bytesReceived: 2000 },
  };
  const connections = [
    {
      ...{ ...row, podUid: 'uid-b' },
      source: {
        address: '10.0.0.1:1',
        workload: 'a',
        namespace: 'm',
        identity: 'spiffe://cluster.local/ns/m/sa/a',
      },
      destination: { address: '10.0.0.2:80', workload: 'b', namespace: 'm', service: 'b.m' },
    },
    {
      ...{ ...row, podUid: 'uid-a', direction: 'outbound' },
      source: { address: '10.0.0.1:2', workload: 'a', namespace: 'm' },
      destination: { address: '192.0.2.1:443' },
    },
  ];

  it('lists those that pass the filters, with who is proved', async () => {
    const reader = answering({ '/connections': { connections } });
    const inventory = await reader.inventory();
    const all = await openConnections(reader, inventory, {});
    const lines = connectionLines(all, NO_COLOURS, Date.parse('2026-01-01T00:01:30.000Z'));
    assert.match(
      lines[1] ?? '',
      /^node-a +in +m\/a +m\/b +b\.m +mTLS +1 min +10 B +2\.0 kB +cluster\.local\/ns\/m\/sa\/a$/,
    );
    assert.match(lines[2] ?? '', /^node-a +out +m\/a +192\.0\.2\.1:443 +plain/);
    const count = async (filter: Parameters<typeof openConnections>[2]): Promise<number> =>
      (await openConnections(reader, inventory, filter)).connections.length;
    assert.equal(await count({ pod: 'm/b' }), 1);
    assert.equal(await count({ namespace: 'm' }), 2);
    assert.equal(await count({ namespace: 'other' }), 0);
    assert.equal(await count({ direction: 'outbound' }), 1);
  });

  it('says who did not answer', async () => {
    const mesh = fakeMesh(MESH);
    const reader = { ...mesh, get: () => Promise.reject(new Error('gone')) };
    const { problems } = await openConnections(reader, await reader.inventory(), {});
    assert.deepEqual(problems, [
      'ztunnel of node-a does not answer: gone',
      'agent of node-a does not answer: gone',
    ]);
  });

  it('tells of those from before the mesh, which no node carries', async () => {
    const pods = [
      { uid: 'uid-a', earlier: { count: 1, cutAt: '2026-01-01T00:10:00.000Z' } },
      { uid: 'uid-b' },
    ];
    const reader = answering({ '/connections': { connections: [] }, '/status': { pods } });
    const lines = async (filter: Parameters<typeof openConnections>[2]): Promise<string> => {
      const found = await openConnections(reader, await reader.inventory(), filter);
      return connectionLines(found, NO_COLOURS, 0).join('\n');
    };
    assert.equal(
      await lines({ namespace: 'm' }),
      'No connection is open through the mesh.\n' +
        'pod m/a: 1 connection from before it came into the mesh goes on in plaintext; it is cut at 2026-01-01T00:10:00.000Z',
    );
    assert.equal(await lines({ pod: 'm/b' }), 'No connection is open.');
    assert.equal(await lines({ namespace: 'other' }), 'No connection is open.');
  });
});

describe('certs', () => {
  const now = Date.parse('2026-01-01T00:00:00.000Z');
  const certificates = [
    {
      identity: 'spiffe://t/ns/m/sa/a',
      state: 'valid',
      notAfter: '2026-01-01T01:00:00.000Z',
      certChainPem: '-----BEGIN',
    },
    { identity: 'spiffe://t/ns/m/sa/b', state: 'failing', lastError: 'refused' },
    { identity: 'spiffe://t/ns/m/sa/c', state: 'valid', notAfter: '2025-12-31T00:00:00.000Z' },
  ];

  it('says which are well, and which are not', async () => {
    const reader = answering({ '/config_dump': { certificates } });
    const found = await heldCertificates(reader, await reader.inventory(), 0, now);
    assert.deepEqual(
      found.certificates.map(({ problem }) => problem),
      [undefined, 'cannot be had', 'expired'],
    );
    assert.match(
      certificateLines(found, NO_COLOURS, now)[1] ?? '',
      /^ztunnel of node-a +t\/ns\/m\/sa\/a +valid +60 min/,
    );
    const soon = await heldCertificates(reader, await reader.inventory(), 7_200_000, now);
    assert.equal(soon.certificates[0]?.problem, 'ends in 60 min');
  });
});

describe('config', () => {
  const workload = (uid: string, more: object = {}) => ({
    uid,
    addresses: ['1', '2'],
    locality: { zone: 'x' },
    ...more,
  });

  it('finds what programs hold otherwise, and nothing in another order', () => {
    const left = { workloads: [workload('a'), workload('b'), workload('c')], policies: [] };
    const right = {
      workloads: [workload('a', { addresses: ['2', '1'] }), workload('b', { locality: { zone: 'y' } })],
      policies: [{ key: 'm/p' }],
    };
    const found = dumpDifferences(left, right, false);
    assert.deepEqual(found.flatMap(differenceText), [
      '~ workload b',
      '    - locality.zone: "x"',
      '    + locality.zone: "y"',
      '- workload c',
      '+ policy m/p',
    ]);
    assert.deepEqual(
      dumpDifferences(left, right, true).map(({ name }) => name),
      ['b'],
    );
  });

  it('reads which program is meant, and says which there are', () => {
    const inventory = {
      ...{ nodes: ['n'], pods: [], services: [] },
      waypoints: [{ namespace: 's', gateway: 'way', instance: 'way-0', node: 'n', ips: [] }],
    };
    assert.deepEqual(readProgram(inventory, 'ztunnel/n'), { program: 'ztunnel', node: 'n' });
    assert.deepEqual(readProgram(inventory, 'waypoint/s/way'), {
      program: 'waypoint',
      namespace: 's',
      instance: 'way-0',
    });
    assert.deepEqual(readProgram(inventory, 'controller'), { program: 'controller' });
    for (const word of ['ztunnel', 'ztunnel/x', 'ztunnel/n/x', 'controller/n', 'waypoint/s', ''])
      assert.throws(() => readProgram(inventory, word), {
        code: 'MESH_INPUT',
        message: /there are: controller, agent\/n, ztunnel\/n, waypoint\/s\/way-0$/,
      });
  });
});
