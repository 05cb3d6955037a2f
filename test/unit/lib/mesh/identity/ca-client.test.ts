import assert from 'node:assert/strict';
import { fromBinary, toBinary, create } from '@bufbuild/protobuf';
import { status, type Metadata, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, it } from 'mocha';
import {
  IstioCertificateRequestSchema,
  IstioCertificateResponseSchema,
  type IstioCertificateRequest,
  type IstioCertificateResponse,
} from '../../../../../proto/gen/istio/auth/ca_pb.js';
import { CREATE_CERTIFICATE_PATH, IstioCaClient } from '../../../../../lib/mesh/identity/ca-client.ts';
import { DeltaServer } from '../xds/delta-server.ts';
import { TestCa } from './test-ca.ts';

const IDENTITY = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };
const REQUEST = { identity: IDENTITY, csrPem: 'the request', ttlSeconds: 3600 };

type Call = ServerUnaryCall<IstioCertificateRequest, IstioCertificateResponse>;
type Answer = (call: Call, reply: sendUnaryData<IstioCertificateResponse>) => void;

const DEFINITION = {
  sign: {
    path: CREATE_CERTIFICATE_PATH,
    requestStream: false,
    responseStream: false,
    requestSerialize: (m: IstioCertificateRequest) => Buffer.from(toBinary(IstioCertificateRequestSchema, m)),
    requestDeserialize: (b: Buffer) => fromBinary(IstioCertificateRequestSchema, b),
    responseSerialize: (m: IstioCertificateResponse) =>
      Buffer.from(toBinary(IstioCertificateResponseSchema, m)),
    responseDeserialize: (b: Buffer) => fromBinary(IstioCertificateResponseSchema, b),
  },
};

describe('CA client', () => {
  let server: DeltaServer;
  let client: IstioCaClient;
  let answer: Answer;
  let seen: { request: IstioCertificateRequest; metadata: Metadata }[];

  beforeEach(async () => {
    seen = [];
    answer = (_call, reply) =>
      reply(null, create(IstioCertificateResponseSchema, { certChain: ['leaf', 'root'] }));
    const sign: Answer = (call, reply) => {
      seen.push({ request: call.request, metadata: call.metadata });
      answer(call, reply);
    };
    server = await DeltaServer.start({ extra: { sign }, definition: DEFINITION });
    client = connect();
  });
  afterEach(async () => {
    client.close();
    await server.clean();
  });

  function connect(more: { address?: string; rootFile?: string } = {}): IstioCaClient {
    const { address, rootFile, tokenFile } = server;
    return new IstioCaClient({ address, rootFile, tokenFile, clusterId: 'Kubernetes', ...more });
  }

  it('asks for a pod’s identity with the node’s token of now', async () => {
    assert.deepEqual(await client.createCertificate(REQUEST), ['leaf', 'root']);
    await server.setToken('second-token');
    await client.createCertificate(REQUEST);
    const [first, second] = seen;
    assert.equal(first?.request.csr, 'the request');
    assert.equal(first.request.validityDuration, 3600n);
    assert.deepEqual(first.request.metadata, {
      ImpersonatedIdentity: 'spiffe://cluster.local/ns/shop/sa/web',
    });
    assert.deepEqual(first.metadata.get('authorization'), ['Bearer first-token']);
    assert.deepEqual(second?.metadata.get('authorization'), ['Bearer second-token']);
  });

  it('tells a refusal from an absence', async () => {
    const fail =
      (code: status): Answer =>
      (_call, reply) =>
        reply({ code, details: 'because' });
    const cases = [
      [status.PERMISSION_DENIED, 'CA_REFUSED'],
      [status.UNAUTHENTICATED, 'CA_REFUSED'],
      [status.UNAVAILABLE, 'CA_UNAVAILABLE'],
      [status.INTERNAL, 'CA_UNAVAILABLE'],
    ] as const;
    for (const [code, expected] of cases) {
      answer = fail(code);
      await assert.rejects(client.createCertificate(REQUEST), { code: expected, message: /because/ });
    }
    const nobody = connect({ address: 'https://127.0.0.1:1' });
    await assert.rejects(nobody.createCertificate(REQUEST), { code: 'CA_UNAVAILABLE' });
  });

  it('trusts no server of another root', async () => {
    const other = await DeltaServer.start({ ca: await TestCa.root('CN=other') });
    try {
      const wrong = connect({ rootFile: other.rootFile });
      await assert.rejects(wrong.createCertificate(REQUEST), { code: 'CA_UNAVAILABLE' });
      assert.deepEqual(seen, []);
    } finally {
      await other.clean();
    }
  });

  it('ends calls under way when it is closed', async () => {
    const asked = Promise.withResolvers<void>();
    answer = () => asked.resolve();
    const waiting = client.createCertificate(REQUEST);
    await asked.promise;
    client.close();
    await assert.rejects(waiting, { code: 'CA_UNAVAILABLE' });
    await assert.rejects(client.createCertificate(REQUEST), /stopping/);
  });
});
