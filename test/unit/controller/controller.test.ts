import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../../../controller/xds/snapshot.ts';
import { AddressSchema, TunnelProtocol } from '../../../proto/gen/istio/workload/workload_pb.js';
import {
  ASSIGNMENTS,
  layOutShop,
  MANIFESTS,
  policyManifest,
  requestCertificate,
  runController,
  temporaryDir,
  TestXdsClient,
  TOKEN_A,
  TOKEN_B,
  until,
} from './harness.ts';
import { makeCsr } from './ca/make-csr.ts';

const FRONTEND = 'cluster.local/ns/shop/sa/frontend';
const PAYMENTS_URI = 'spiffe://cluster.local/ns/shop/sa/payments';

describe('controller', () => {
  it('serves the compiled mesh to a node and follows an edit', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    await using controller = await runController(dir.path);
    using client = await TestXdsClient.connect(controller, TOKEN_A);
    client.send({ typeUrl: ADDRESS_TYPE, node: { id: 'ztunnel~a' } });
    client.send({ typeUrl: AUTHORIZATION_TYPE });
    const policies = await client.next();
    assert.equal(policies.typeUrl, AUTHORIZATION_TYPE, 'policies go first');
    assert.equal(policies.resources.length, 0, 'an empty first answer is given all the same');
    client.ack(policies);
    const addresses = await client.next();
    assert.deepEqual(addresses.resources.map(({ name }) => name).sort(), [
      'Kubernetes//Pod/shop/frontend-0',
      'Kubernetes//Pod/shop/payments-0',
      'shop/payments.shop.svc.cluster.local',
    ]);
    const workload = addresses.resources.find(({ name }) => name.endsWith('payments-0'));
    const { type } = fromBinary(AddressSchema, workload?.resource?.value ?? new Uint8Array());
    assert(type.case === 'workload');
    assert.equal(type.value.tunnelProtocol, TunnelProtocol.HBONE);
    assert.equal(type.value.services['shop/payments.shop.svc.cluster.local']?.ports[0]?.targetPort, 8080);
    client.ack(addresses);

    await controller.manifest('policy.yaml', policyManifest(FRONTEND));
    const added = await client.next();
    assert.deepEqual(
      [added.typeUrl, added.resources.map(({ name }) => name)],
      [AUTHORIZATION_TYPE, ['shop/payments-only-frontend']],
    );
    client.ack(added);
    const attached = await client.next();
    assert.deepEqual(
      [attached.typeUrl, attached.resources.map(({ name }) => name)],
      [ADDRESS_TYPE, ['Kubernetes//Pod/shop/payments-0']],
    );
    client.ack(attached);

    await rm(join(dir.path, 'manifests', 'policy.yaml'));
    const detached = await client.next();
    assert.deepEqual(
      [detached.typeUrl, detached.resources.length],
      [ADDRESS_TYPE, 1],
      'the reference goes before the policy',
    );
    client.ack(detached);
    const removed = await client.next();
    assert.deepEqual(
      [removed.typeUrl, removed.removedResources],
      [AUTHORIZATION_TYPE, ['shop/payments-only-frontend']],
    );
    client.ack(removed);
    await until(async () => {
      const report = await controller.report();
      return report.nodes.some(
        (n) => n.node === 'node-a' && n.connected && n.ackedGeneration === report.generation,
      );
    });
  });

  it('keeps a policy in force when its file breaks, also across a restart', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    const inForce = async (controller: Awaited<ReturnType<typeof runController>>): Promise<boolean> => {
      using client = await TestXdsClient.connect(controller, TOKEN_B);
      client.send({ typeUrl: AUTHORIZATION_TYPE });
      const { resources } = await client.next();
      return resources.some(({ name }) => name === 'shop/payments-only-frontend');
    };
    {
      await using controller = await runController(dir.path);
      await controller.manifest('policy.yaml', policyManifest(FRONTEND));
      await until(() => inForce(controller));
      await controller.manifest(
        'policy.yaml',
        policyManifest(FRONTEND).replace('rules: [', 'rules: ['.repeat(3)),
      );
      const broken = await until(async () =>
        (await controller.report()).objects.find((o) => o.name === 'payments-only-frontend' && o.lastGood),
      );
      assert.deepEqual(broken.compiledTo, ['Authorization shop/payments-only-frontend']);
      assert(await inForce(controller));
    }
    await using again = await runController(dir.path);
    assert(await inForce(again));
    const report = await again.report();
    assert.equal(report.objects.find((o) => o.name === 'payments-only-frontend')?.lastGood, true);
  });

  it('signs for the pods of a node and for no others', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    await using controller = await runController(dir.path, ['--cert-ttl-max-s', '3600']);
    const { csr } = await makeCsr();
    const metadata = { ImpersonatedIdentity: PAYMENTS_URI };
    const granted = await requestCertificate(controller, TOKEN_B, {
      csr,
      metadata,
      validityDuration: 86400n,
    });
    assert(granted.ok, granted.ok ? '' : granted.error.message);
    const chain = granted.response.certChain.map((pem) => new X509Certificate(pem));
    const [leaf, root] = chain;
    assert(leaf !== undefined && root !== undefined && chain.length === 2);
    assert.equal(leaf.subjectAltName, `URI:${PAYMENTS_URI}`);
    assert(leaf.checkIssued(root) && leaf.verify(root.publicKey));
    assert(
      Date.parse(leaf.validTo) - Date.parse(leaf.validFrom) <= 3720 * 1000,
      'the configured maximum holds',
    );
    assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    assert.equal(
      (await readFile(join(dir.path, 'state', 'root-cert.pem'), 'utf8')).trim(),
      root.toString().trim(),
    );

    const denied = await requestCertificate(controller, TOKEN_A, { csr, metadata });
    assert(!denied.ok);
    assert.equal(denied.error.code, grpc.status.PERMISSION_DENIED);
    assert(denied.error.details.includes(PAYMENTS_URI) && denied.error.details.includes('node-a'));
  });

  it('refuses calls without a valid token, and ends streams when theirs is revoked', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    await using controller = await runController(dir.path);
    const { csr } = await makeCsr();
    for (const token of [undefined, 'x'.repeat(32), TOKEN_A.slice(1), `${TOKEN_A}a`]) {
      using client = await TestXdsClient.connect(controller, token);
      client.send({ typeUrl: ADDRESS_TYPE });
      assert.equal((await client.ended).code, grpc.status.UNAUTHENTICATED);
      assert.equal(client.responses.length, 0);
      const refused = await requestCertificate(controller, token, {
        csr,
        metadata: { ImpersonatedIdentity: PAYMENTS_URI },
      });
      assert(!refused.ok && refused.error.code === grpc.status.UNAUTHENTICATED);
    }
    using client = await TestXdsClient.connect(controller, TOKEN_B);
    client.send({ typeUrl: AUTHORIZATION_TYPE });
    await client.next();
    await controller.tokens({ tokens: [{ node: 'node-a', token: TOKEN_A }] });
    assert.equal((await client.ended).code, grpc.status.UNAUTHENTICATED);
  });

  it('does not serve before it knows which pods run where', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    await rm(join(dir.path, 'assignments.json'));
    await using controller = await runController(dir.path);
    using client = await TestXdsClient.connect(controller, TOKEN_A);
    client.send({ typeUrl: ADDRESS_TYPE, initialResourceVersions: { 'Kubernetes//Pod/shop/other': '1' } });
    const { csr } = await makeCsr();
    const early = await requestCertificate(controller, TOKEN_B, {
      csr,
      metadata: { ImpersonatedIdentity: PAYMENTS_URI },
    });
    assert(!early.ok && early.error.code === grpc.status.UNAVAILABLE);
    const ready = await controller.status('/healthz/ready');
    assert.equal(ready.code, 503);
    assert(JSON.stringify(ready.body).includes('"name":"assignments","ready":false'));
    assert.equal(client.responses.length, 0, 'nothing is removed on half a picture');
    await controller.assignments(ASSIGNMENTS);
    const first = await client.next();
    assert.deepEqual(first.removedResources, ['Kubernetes//Pod/shop/other']);
    assert.equal(first.resources.length, 3);
  });

  it('keeps its root over a restart, and its files to itself', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    const state = (name: string): string => join(dir.path, 'state', name);
    const rootOf = async (): Promise<string> => {
      await using _ = await runController(dir.path);
      return readFile(state('root-cert.pem'), 'utf8');
    };
    assert.equal(await rootOf(), await rootOf());
    const modes = await Promise.all(
      ['', 'root-ca.pem', 'last-good.json', 'last-assignments.json'].map(
        async (name) => (await stat(state(name))).mode & 0o777,
      ),
    );
    assert.deepEqual(modes, [0o700, 0o600, 0o600, 0o600]);
  });

  it('ends only the stream of a client that breaks the protocol or its limits', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    await using controller = await runController(dir.path);
    using good = await TestXdsClient.connect(controller, TOKEN_A);
    good.send({ typeUrl: AUTHORIZATION_TYPE });
    good.ack(await good.next());

    using wrongType = await TestXdsClient.connect(controller, TOKEN_A);
    wrongType.send({ typeUrl: 'type.googleapis.com/envoy.config.listener.v3.Listener' });
    assert.equal((await wrongType.ended).code, grpc.status.INVALID_ARGUMENT);

    using huge = await TestXdsClient.connect(controller, TOKEN_A);
    huge.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['x'.repeat(9 * 1024 * 1024)] });
    assert.equal((await huge.ended).code, grpc.status.RESOURCE_EXHAUSTED);

    using longName = await TestXdsClient.connect(controller, TOKEN_A);
    longName.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['x'.repeat(5000)] });
    assert.equal((await longName.ended).code, grpc.status.INVALID_ARGUMENT);

    await controller.manifest('policy.yaml', policyManifest(FRONTEND));
    assert.equal((await good.next()).resources.length, 1);
  });

  it('follows a change that breaks nothing else: a wrong manifest beside good ones', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    await using controller = await runController(dir.path);
    await controller.manifest(
      'wrong.yaml',
      policyManifest(FRONTEND).replace('notPrincipals', 'notPrincipal'),
    );
    const wrong = await until(async () =>
      (await controller.report()).objects.find((o) => o.state === 'rejected'),
    );
    assert.equal(wrong.field, 'spec.rules[0].from[0].source.notPrincipal');
    assert(wrong.message?.includes('did you mean "notPrincipals"?'));
    assert.equal(wrong.lastGood, false);
    await controller.manifest('shop.yaml', MANIFESTS.replace('port: 80,', 'port: 81,'));
    using client = await TestXdsClient.connect(controller, TOKEN_A);
    client.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['shop/payments.shop.svc.cluster.local'] });
    await until(async () => {
      for (const response of client.responses.splice(0)) {
        client.ack(response);
        for (const { resource } of response.resources) {
          const { type } = fromBinary(AddressSchema, resource?.value ?? new Uint8Array());
          if (type.case === 'service' && type.value.ports[0]?.servicePort === 81) return true;
        }
      }
      return Promise.resolve(false);
    });
  });
});
