import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import type * as grpc from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import { loadAuthority } from '../../../../controller/ca/root.ts';
import { ControllerMetrics } from '../../../../controller/telemetry/metrics.ts';
import { CaService } from '../../../../controller/ca/service.ts';
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  type IstioCertificateResponse,
} from '../../../../proto/gen/istio/auth/ca_pb.js';
import { SILENT, temporaryDir } from '../harness.ts';
import { makeCsr } from './make-csr.ts';

const IDENTITY = 'spiffe://cluster.local/ns/shop/sa/web';

type Call = grpc.ServerUnaryCall<IstioCertificateRequest, IstioCertificateResponse>;

describe('ca/service', () => {
  it('lets no node use up what others need for their certificates', async () => {
    await using dir = await temporaryDir();
    const authority = await loadAuthority({ stateDir: dir.path, trustDomain: 'cluster.local' });
    const service = new CaService({
      authority: () => authority,
      maxTtlS: 3600,
      authenticate: (metadata) => Promise.resolve({ kind: 'node', node: metadata as unknown as string }),
      metrics: new ControllerMetrics('test'),
      identitiesOf: () => new Set([IDENTITY]),
      log: SILENT,
    });
    const { csr } = await makeCsr();
    const request = create(IstioCertificateRequestSchema, {
      csr,
      metadata: { ImpersonatedIdentity: IDENTITY },
    });
    const ask = (node: string): Promise<'granted' | 'refused'> =>
      new Promise((resolve) => {
        const call = { request, metadata: node, getPeer: () => node } as unknown as Call;
        service.implementation.createCertificate(call, (error) =>
          resolve(error === null ? 'granted' : 'refused'),
        );
      });
    const greedy = Array.from({ length: 200 }, () => ask('greedy'));
    const modest = Array.from({ length: 10 }, () => ask('modest'));
    assert.deepEqual(new Set(await Promise.all(modest)), new Set(['granted']));
    assert.deepEqual(new Set(await Promise.all(greedy)), new Set(['granted', 'refused']));
    assert.equal(await ask('greedy'), 'granted', 'afterwards it may ask again');
    assert.equal(service.counts.issued + service.counts.refused, 211);
  });
});
