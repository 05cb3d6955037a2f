import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { immutablePart, readAcceptedObjects, selects } from '../../../../cli/local/model.ts';

const POD = {
  metadata: {
    name: 'a',
    namespace: 'x',
    labels: { app: 'a' },
    annotations: { 'local.loam.dev/command.main': 'sleep 1', note: 'n' },
  },
  spec: {
    nodeName: 'n1',
    containers: [
      {
        name: 'main',
        image: 'any',
        ports: [{ containerPort: 80 }, { containerPort: 53, protocol: 'UDP' }],
        env: [{ name: 'A', value: '1' }],
      },
    ],
  },
};

describe('local mesh: objects of the controller', () => {
  it('reads what a kubelet acts on', () => {
    const objects = readAcceptedObjects({
      generation: 4,
      pods: [POD, { metadata: { name: 'nowhere' }, spec: {} }],
      services: [
        { metadata: { name: 's', namespace: 'x' }, spec: { clusterIP: 'None', selector: { app: 'a' } } },
        { metadata: { name: 't' }, spec: {} },
      ],
      namespaces: [{ metadata: { name: 'x', labels: { l: 'v' } } }],
    });
    assert.equal(objects.generation, 4);
    assert.deepEqual(objects.pods, [
      {
        namespace: 'x',
        name: 'a',
        labels: { app: 'a' },
        annotations: POD.metadata.annotations,
        nodeName: 'n1',
        families: ['IPv4', 'IPv6'],
        serviceAccount: 'default',
        containers: [{ name: 'main', ports: [80], env: { A: '1' } }],
      },
    ]);
    assert.deepEqual(objects.services, [
      {
        namespace: 'x',
        name: 's',
        headless: true,
        families: ['IPv4'],
        clusterIPs: [],
        selector: { app: 'a' },
      },
      {
        namespace: 'default',
        name: 't',
        headless: false,
        families: ['IPv4'],
        clusterIPs: [],
        selector: undefined,
      },
    ]);
    assert.deepEqual(objects.namespaces.get('x'), { l: 'v' });
  });

  it('takes the Gateways of our class for waypoints, and no others', () => {
    const gateway = (name: string, gatewayClassName: string): unknown => ({
      metadata: { name, namespace: 'x', annotations: { 'local.loam.dev/replicas': '2' } },
      spec: { gatewayClassName, listeners: [] },
    });
    const gateways = [gateway('w', 'loam-waypoint'), gateway('edge', 'other')];
    assert.deepEqual(readAcceptedObjects({ gateways }).gateways, [
      { namespace: 'x', name: 'w', annotations: { 'local.loam.dev/replicas': '2' } },
    ]);
    assert.deepEqual(readAcceptedObjects({}).gateways, [], 'a controller that knows no Gateway');
  });

  it('starts a pod anew only for what cannot change while it runs', () => {
    const read = (pod: unknown): string => {
      const [first] = readAcceptedObjects({ pods: [pod] }).pods;
      assert.ok(first);
      return immutablePart(first);
    };
    const { metadata, spec } = POD;
    const before = read(POD);
    assert.equal(
      read({ metadata: { ...metadata, labels: { app: 'b' } }, spec }),
      before,
      'labels change in place',
    );
    assert.notEqual(read({ metadata, spec: { ...spec, nodeName: 'n2' } }), before);
    const annotations = { 'local.loam.dev/command.main': 'sleep 2' };
    assert.notEqual(read({ metadata: { ...metadata, annotations }, spec }), before);
  });

  it('selects by all labels of a selector', () => {
    assert.ok(selects({ a: '1' }, { a: '1', b: '2' }));
    assert.ok(!selects({ a: '1', b: '3' }, { a: '1', b: '2' }));
  });
});
