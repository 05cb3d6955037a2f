import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { findPod, findService, findTarget } from '../../../../cli/mesh/find.ts';
import type { MeshInventory, MeshPod, MeshService } from '../../../../cli/mesh/reader.ts';

const pod = (namespace: string, name: string, labels: MeshPod['labels'] = {}, ready = true): MeshPod => ({
  ...{
    namespace,
    name,
    node: 'n',
    uid: `${namespace}/${name}`,
    account: name,
    ips: [],
    ...{ ready, labels },
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

  describe('of what made a pod', () => {
    const hashed = { 'pod-template-hash': '7c9d' };
    const pods = [
      pod('shop', 'web-7c9d-aaaaa', hashed, false),
      pod('shop', 'web-7c9d-bbbbb', hashed),
      pod('shop', 'web-7c9d-ccccc', hashed),
      pod('shop', 'store-0', { 'controller-revision-hash': 'x' }),
      pod('shop', 'nightly-28-abcde', { 'batch.kubernetes.io/job-name': 'nightly-28' }),
      pod('shop', 'bare-0'),
      pod('kiosk', 'store-0', { 'controller-revision-hash': 'x' }),
    ];
    const found = (word: string): string => {
      const { namespace, name } = findPod({ pods }, word);
      return `${namespace}/${name}`;
    };

    it('takes a ready one of those that are alike', () => {
      assert.deepEqual(
        ['shop/web', 'web.shop', 'web', 'pod/shop/web'].map(found),
        Array(4).fill('shop/web-7c9d-bbbbb'),
      );
      assert.equal(found('shop/store'), 'shop/store-0');
      assert.equal(found('nightly-28'), 'shop/nightly-28-abcde');
      assert.equal(found('shop/web-7c9d-ccccc'), 'shop/web-7c9d-ccccc', 'a name of its own is that');
    });

    it('takes no part of a name for it, and asks where there are several', () => {
      assert.throws(() => found('shop/bare'), /there is no pod "shop\/bare"/);
      assert.throws(() => found('shop/web-7c9d'), /there is no pod/);
      assert.throws(
        () => found('store'),
        /several are named store; say which: kiosk\/store-0, shop\/store-0/,
      );
    });

    it('means the Service of the same name where something is dialled', () => {
      const services = [service('shop', 'web')];
      const { target } = findTarget({ ...INVENTORY, pods, services }, 'shop/web');
      assert.equal(target.kind, 'service');
      assert.equal(findTarget({ ...INVENTORY, pods }, 'shop/store:80').target.kind, 'pod');
    });
  });

  it('asks which of several is meant', () =>
    assert.throws(
      () => findPod(INVENTORY, 'auth'),
      /several are named auth; say which: kiosk\/auth, shop\/auth/,
    ));

  it('guesses what is misspelt, and lists no more than ten', () => {
    const pods = Array.from({ length: 14 }, (_, i) => pod('shop', `p${String(i).padStart(2, '0')}`));
    assert.throws(
      () => findPod({ pods: [...pods, pod('shop', 'frontend')] }, 'shop/frontnd'),
      /^MeshError: there is no pod "shop\/frontnd"; did you mean shop\/frontend\?; there are: shop\/frontend, (shop\/p\d\d, ){8}shop\/p08 and 5 more; allowed: /,
    );
    assert.throws(() => findPod(INVENTORY, 'db-11'), /did you mean shop\/db-1\?/);
    assert.throws(() => findTarget(INVENTORY, 'kiosk/auht'), /did you mean kiosk\/auth\?/);
  });

  it('says of which kind it is when the other one is asked for', () => {
    assert.throws(
      () => findPod(INVENTORY, 'db', 'loam describe service'),
      /^MeshError: db is a Service: loam describe service db$/,
    );
    assert.throws(
      () => findService(INVENTORY, 'shop/db-1', 'loam describe pod'),
      /^MeshError: shop\/db-1 is a pod: loam describe pod shop\/db-1$/,
    );
    const selector = { app: 'db' };
    const known = {
      pods: [
        pod('shop', 'db-1', selector),
        pod('shop', 'other', { app: 'x' }),
        pod('kiosk', 'db-2', selector),
      ],
      services: [{ ...service('shop', 'db'), selector }],
    };
    assert.throws(
      () => findPod(known, 'shop/db'),
      /shop\/db is a Service, and a pod is wanted; behind it are: shop\/db-1$/,
    );
  });
});
