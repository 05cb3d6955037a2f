import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { findPod, findTarget } from '../../../../cli/mesh/find.ts';
import type { MeshInventory, MeshPod, MeshService } from '../../../../cli/mesh/reader.ts';

const pod = (namespace: string, name: string): MeshPod => ({
  ...{
    namespace,
    name,
    node: 'n',
    uid: `${namespace}/${name}`,
    account: name,
    ips: [],
    ready: true,
    labels: {},
  },
});
const service = (namespace: string, name: string): MeshService => ({
  ...{ namespace, name, ports: [], selector: {} },
});
const INVENTORY: MeshInventory = {
  nodes: ['n'],
  pods: [pod('shop', 'auth'), pod('shop', 'db-1'), pod('kiosk', 'auth')],
  services: [service('shop', 'auth'), service('shop', 'db')],
  waypoints: [],
};

function meant(word: string): string {
  const { target, port = '' } = findTarget(INVENTORY, word);
  const name =
    target.kind === 'address'
      ? target.ip
      : target.kind === 'pod'
        ? `${target.pod.namespace}/${target.pod.name}`
        : `${target.service.namespace}/${target.service.name}`;
  return `${target.kind} ${name} ${port}`.trim();
}

describe('words for pods and Services', () => {
  for (const [word, expected] of [
    ['shop/auth', 'service shop/auth'],
    ['pod/shop/auth:80', 'pod shop/auth 80'],
    ['svc/shop/auth:80', 'service shop/auth 80'],
    ['db', 'service shop/db'],
    ['db-1', 'pod shop/db-1'],
    ['db.shop', 'service shop/db'],
    ['db.shop.svc.cluster.local:6379', 'service shop/db 6379'],
    ['10.0.0.1:80', 'address 10.0.0.1 80'],
    ['::ffff:10.0.0.1', 'address 10.0.0.1'],
    ['[fd00::1]:80', 'address fd00::1 80'],
    ['fd00::1', 'address fd00::1'],
  ] as const)
    it(`reads ${word}`, () => assert.equal(meant(word), expected));

  for (const [word, error] of [
    [
      'nobody',
      /there is no pod or Service "nobody"; there are: kiosk\/auth, shop\/auth, shop\/db, shop\/db-1; allowed: /,
    ],
    ['shop/auth:0', /port 0 of "shop\/auth:0": allowed are 1 to 65535/],
    ['shop/auth:70000', /allowed are 1 to 65535/],
  ] as const)
    it(`refuses ${word} and says what to do`, () =>
      assert.throws(() => findTarget(INVENTORY, word), { code: 'MESH_INPUT', message: error }));

  it('asks which of several is meant', () =>
    assert.throws(
      () => findPod(INVENTORY, 'auth'),
      /several are named auth; say which: kiosk\/auth, shop\/auth/,
    ));
});
