import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { X509Certificate } from 'node:crypto';
import type * as grpc from '@grpc/grpc-js';
import { status as grpcStatus } from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import { pino } from 'pino';
import type { Principal } from '../../../../controller/auth/principal.ts';
import { loadAuthority } from '../../../../controller/ca/root.ts';
import { ControllerMetrics } from '../../../../controller/telemetry/metrics.ts';
import { CaService, type CaServiceOptions } from '../../../../controller/ca/service.ts';
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  type IstioCertificateResponse,
} from '../../../../proto/gen/istio/auth/ca_pb.js';
import { SILENT, temporaryDir } from '../harness.ts';
import { makeCsr } from './make-csr.ts';

const IDENTITY = 'spiffe://cluster.local/ns/shop/sa/web';

type Call = grpc.ServerUnaryCall<IstioCertificateRequest, IstioCertificateResponse>;

/** Asks as whoever `as` is. */
async function setUp(
  as: Principal | undefined,
  change: Partial<CaServiceOptions> = {},
): Promise<
  {
    lines: string[];
    service: CaService;
    counted: (result: string) => Promise<number>;
    ask: (identity: string) => Promise<{ code: grpc.status; message: string } | { chain: string[] }>;
  } & AsyncDisposable
> {
  const dir = await temporaryDir();
  const authority = await loadAuthority({ stateDir: dir.path, trustDomain: 'cluster.local' });
  const metrics = new ControllerMetrics('test');
  const lines: string[] = [];
  const service = new CaService({
    authority: () => authority,
    maxTtlS: 3600,
    authenticate: () => Promise.resolve(as),
    metrics,
    identitiesOf: (who) => new Set(who.kind === 'node' && who.node === 'node-a' ? [IDENTITY] : []),
    log: pino({}, { write: (line: string) => void lines.push(line) }),
    ...change,
  });
  const { csr } = await makeCsr();
  return {
    lines,
    service,
    counted: async (result) => {
      const { values } = await metrics.certificates.get();
      return values.find(({ labels }) => labels.result === result)?.value ?? 0;
    },
    ask: (identity) =>
      new Promise((resolve) => {
        const request = create(IstioCertificateRequestSchema, {
          csr,
          metadata: { ImpersonatedIdentity: identity },
        });
        const call = { request, metadata: undefined, getPeer: () => '10.0.0.9:4711' } as unknown as Call;
        service.implementation.createCertificate(call, (error, response) => {
          if (error === null) resolve({ chain: response?.certChain ?? [] });
          else resolve({ code: error.code ?? grpcStatus.UNKNOWN, message: error.details ?? '' });
        });
      }),
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

describe('ca/service', () => {
  it("certifies no name that only the request itself says, and none of another node's pods: refused, counted, logged", async () => {
    await using own = await setUp({ kind: 'node', node: 'node-a' });
    const granted = await own.ask(IDENTITY);
    assert('chain' in granted);
    // The request asks for kube-system's, as its subject and by a name; see make-csr.ts.
    assert.equal(new X509Certificate(granted.chain[0] ?? '').subjectAltName, `URI:${IDENTITY}`);
    await using other = await setUp({ kind: 'node', node: 'node-b' });
    for (const { by, wanted } of [
      { by: own, wanted: 'spiffe://cluster.local/ns/kube-system/sa/admin' },
      { by: own, wanted: 'spiffe://other.example/ns/shop/sa/web' },
      { by: other, wanted: IDENTITY },
    ]) {
      const refused = await by.ask(wanted);
      assert('code' in refused && refused.code === grpcStatus.PERMISSION_DENIED, wanted);
      const line = JSON.parse(by.lines.at(-1) ?? '') as { msg: string; reason: string; peer: string };
      assert.equal(line.msg, 'certificate refused');
      assert.match(
        line.reason,
        new RegExp(`identity ${wanted} is of no mesh pod assigned to node node-[ab]`),
      );
      assert.equal(line.peer, '10.0.0.9:4711');
    }
    assert.equal(await own.counted('PERMISSION_DENIED'), 2);
    assert.equal(await other.counted('PERMISSION_DENIED'), 1);
  });

  it('waits a moment for a pod of which the node heard first, and refuses it when nothing comes of that', async () => {
    const known = new Set<string>();
    let told = Promise.withResolvers<void>();
    await using node = await setUp(
      { kind: 'node', node: 'node-a' },
      { identitiesOf: () => known, changed: () => told.promise },
    );
    const tell = (): void => {
      told.resolve();
      told = Promise.withResolvers();
    };
    const early = node.ask(IDENTITY);
    tell(); // of another pod
    await new Promise(setImmediate);
    known.add(IDENTITY);
    tell();
    assert('chain' in (await early));
    assert.equal(await node.counted('PERMISSION_DENIED'), 0);
    const never = await node.ask('spiffe://cluster.local/ns/shop/sa/never');
    assert('code' in never && never.code === grpcStatus.PERMISSION_DENIED);
  });

  it('lets a few of a node wait, so that names of no pod do not keep its others from certificates', async () => {
    const known = new Set([IDENTITY]);
    let told = Promise.withResolvers<void>();
    await using node = await setUp(
      { kind: 'node', node: 'node-a' },
      { identitiesOf: () => known, changed: () => told.promise },
    );
    const late = 'spiffe://cluster.local/ns/shop/sa/late';
    const names = ['one', 'two', 'three'].map((name) => `spiffe://cluster.local/ns/shop/sa/${name}`);
    const waiting = [late, ...names].map((name) => node.ask(name));
    await new Promise(setImmediate);
    const refused = await node.ask('spiffe://cluster.local/ns/shop/sa/five');
    assert('code' in refused && refused.code === grpcStatus.PERMISSION_DENIED);
    assert.equal(await node.counted('PERMISSION_DENIED'), 1, 'the four wait still');
    assert('chain' in (await node.ask(IDENTITY)));
    known.add(late);
    const before = told;
    told = Promise.withResolvers();
    before.resolve();
    assert('chain' in (await (waiting[0] as ReturnType<typeof node.ask>)));
    await Promise.all(waiting);
  });

  it('lets nobody fill the log with what is refused, and counts all of it', async () => {
    await using stranger = await setUp(undefined);
    for (let i = 0; i < 500; i += 1) {
      const refused = await stranger.ask(IDENTITY);
      assert('code' in refused && refused.code === grpcStatus.UNAUTHENTICATED);
    }
    assert.equal(await stranger.counted('UNAUTHENTICATED'), 500);
    const seen = stranger.lines.length;
    assert(seen >= 10 && seen < 500, `${seen} lines`);
  });

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
