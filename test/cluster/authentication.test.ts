import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import { after, before, describe, it } from 'mocha';
import { ADDRESS_TYPE } from '../../controller/xds/snapshot.ts';
import { makeCsr } from '../unit/controller/ca/make-csr.ts';
import { requestCertificate, TestXdsClient, until } from '../unit/controller/harness.ts';
import { type ClusterController, isReady, runClusterController, TestNamespace } from './support/control.ts';

/** Controllers in this process against the real API server: whose tokens, whose certificates. */
describe('cluster: identities of nodes', function () {
  this.timeout(120_000);
  let system: TestNamespace;
  let shop: TestNamespace;
  let controllers: ClusterController[];
  let ztunnel: string;
  const uids = new Map<string, string>();

  before(async () => {
    system = await TestNamespace.create('loam-control');
    shop = await TestNamespace.create('loam-shop', { 'loam.dev/dataplane-mode': 'ambient' });
    await Promise.all([system.account('loam-ztunnel'), shop.account('web'), shop.account('pay')]);
    for (const [name, node] of [
      ['ztunnel-a', 'node-a'],
      ['ztunnel-b', 'node-b'],
    ] as const)
      uids.set(name, await system.pod(name, { account: 'loam-ztunnel', node }));
    uids.set('web', await shop.pod('web', { account: 'web', node: 'node-a' }));
    uids.set('pay', await shop.pod('pay', { account: 'pay', node: 'node-b' }));
    controllers = await Promise.all(['a', 'b'].map((replica) => runClusterController(system, replica)));
    await Promise.all(controllers.map(isReady));
    ztunnel = await system.token('loam-ztunnel', bound('ztunnel-a'));
  });
  after(async () => {
    for (const controller of controllers ?? []) await controller[Symbol.asyncDispose]();
    await system?.[Symbol.asyncDispose]();
    await shop?.[Symbol.asyncDispose]();
  });

  function bound(name: string): { name: string; uid: string } {
    return { name, uid: uids.get(name) ?? '' };
  }

  const identity = (account: string): string => `spiffe://cluster.local/ns/${shop.name}/sa/${account}`;

  async function ask(
    token: string | undefined,
    account: string,
    at = 0,
  ): ReturnType<typeof requestCertificate> {
    const controller = controllers[at];
    assert(controller !== undefined);
    const { csr } = await makeCsr();
    return requestCertificate(controller, token, {
      csr,
      metadata: { ImpersonatedIdentity: identity(account) },
    });
  }

  it('two that begin at once have one root, and both serve a node what it asks for', async () => {
    for (const [at, controller] of controllers.entries()) {
      using client = await TestXdsClient.connect(controller, ztunnel);
      client.send({ typeUrl: ADDRESS_TYPE });
      const names = (await client.next()).resources.map(({ name }) => name);
      assert(names.includes(`Kubernetes//Pod/${shop.name}/web`), names.join());
      const { nodes } = await controller.report();
      assert(nodes.some(({ node, connected }) => node === 'node-a' && connected));
      const granted = await ask(ztunnel, 'web', at);
      assert(granted.ok, granted.ok ? '' : granted.error.details);
      const [leaf = ''] = granted.response.certChain;
      const root = new X509Certificate(await controller.rootPem());
      assert(new X509Certificate(leaf).verify(root.publicKey), 'signed by the one root of the Secret');
    }
  });

  it('a node is certified as the pods that run there, and as no other', async () => {
    const other = await ask(ztunnel, 'pay');
    assert(!other.ok && other.error.code === grpc.status.PERMISSION_DENIED);
    const own = await ask(await system.token('loam-ztunnel', bound('ztunnel-b')), 'pay');
    assert(own.ok, own.ok ? '' : own.error.details);
  });

  it('tokens of others, of no pod and for another audience prove nobody', async () => {
    const foreign: [string, string | undefined][] = [
      ['none', undefined],
      ["a pod's own", await shop.token('web', bound('web'))],
      ['of no pod', await system.token('loam-ztunnel')],
      ['of another audience', await system.token('loam-ztunnel', bound('ztunnel-a'), 'another')],
      ['forged', `${ztunnel.slice(0, -6)}AAAAAA`],
    ];
    for (const [what, token] of foreign) {
      const refused = await ask(token, 'web');
      assert(!refused.ok && refused.error.code === grpc.status.UNAUTHENTICATED, what);
    }
  });

  it("a pod's token counts no more when the pod is gone", async () => {
    const token = await system.token('loam-ztunnel', bound('ztunnel-b'));
    await system.client.delete(`${system.path('pods')}/ztunnel-b`, { gracePeriodSeconds: 0 });
    await until(async () => {
      const refused = await ask(token, 'pay');
      return !refused.ok && refused.error.code === grpc.status.UNAUTHENTICATED;
    });
  });

  it('a second root in the Secret is trusted beside the first, and what is wrong in it does not count', async () => {
    const path = `${system.path('secrets')}/loam-ca`;
    const [controller] = controllers;
    assert(controller !== undefined);
    const own = await controller.rootPem();
    const other = await TestNamespace.create('loam-other');
    await using _ = other;
    await using second = await runClusterController(other, 'x');
    const both = `${own}${await second.rootPem()}`;
    const set = (value: string): Promise<unknown> =>
      system.client.patch(
        path,
        { data: { 'root-cert.pem': Buffer.from(value).toString('base64') } },
        'application/merge-patch+json',
      );
    const rootsGiven = async (): Promise<number> => {
      const granted = await ask(ztunnel, 'web');
      assert(granted.ok, granted.ok ? '' : granted.error.details);
      return granted.response.certChain.join('').split('BEGIN CERTIFICATE').length - 2;
    };
    assert.equal(await rootsGiven(), 1);
    await set(both);
    await until(async () => (await rootsGiven()) === 2);
    await set('no certificate');
    const reason = await until(async () => {
      const { body } = await controller.status('/healthz/ready');
      const gates = (body as { gates: { name: string; ready: boolean; reason: string }[] }).gates;
      const gate = gates.find(({ name }) => name === 'authority');
      return gate?.ready === true && gate.reason !== '' ? gate.reason : undefined;
    });
    assert.match(reason, /Secret .*\/loam-ca: field root-cert\.pem/);
    assert.equal(await rootsGiven(), 2, 'the former state stays in force');
    await set(own);
    await until(async () => (await rootsGiven()) === 1);
    await system.client.delete(path);
    await until(async () => (await controller.rootPem().catch(() => '')) === own);
  });
});
