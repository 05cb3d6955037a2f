import assert from 'node:assert/strict';
import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server, ServerCredentials, status, type sendUnaryData, type ServiceError } from '@grpc/grpc-js';
import { afterEach, describe, it } from 'mocha';
import type { SpanOutcome, SpanRecord } from '../../../../../lib/mesh/telemetry/span.ts';
import { RequestTrace } from '../../../../../waypoint/telemetry/request-trace.ts';
import { spansOf } from '../../../../../waypoint/telemetry/span-record.ts';
import { TraceExport } from '../../../../../lib/mesh/telemetry/trace-export.ts';
import { toyRequest } from '../../../waypoint/telemetry/records.ts';

describe('lib/mesh/telemetry/trace-export', () => {
  const closers: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
  });

  it('posts protobuf to /v1/traces and counts what arrived', async () => {
    const collector = await listen((_request, response) => void response.end());
    const { exporter, counts } = exporterOf();
    exporter.setEndpoint(collector.url);
    exporter.add(spans(3));
    await exporter.close();
    assert.deepEqual(counts, { exported: 3 });
    const [request] = collector.requests;
    assert.equal(request?.url, '/v1/traces');
    assert.equal(request?.type, 'application/x-protobuf');
    assert.ok(request?.body.includes('payments.shop.svc.cluster.local'));
    assert.ok(request?.body.includes('waypoint.shop'));
  });

  it('sends all that waits when it is closed, in several batches', async () => {
    const collector = await listen(ok);
    const { exporter, counts } = exporterOf();
    exporter.setEndpoint(collector.url);
    exporter.add(spans(4_096));
    await exporter.close();
    assert.deepEqual(counts, { exported: 4_096 });
  });

  it('drops and counts what goes beyond its bound while the collector hangs', async () => {
    const held: ServerResponse[] = [];
    const collector = await listen((_request, response) => void held.push(response));
    const { exporter, counts } = exporterOf({ maxPending: 10 });
    exporter.setEndpoint(collector.url);
    exporter.add(spans(10));
    exporter.add(spans(500));
    assert.deepEqual(counts, { dropped: 500 });
    await collector.next();
    exporter.add(spans(500));
    assert.deepEqual(counts, { dropped: 1_000 });
    for (const response of held) response.end();
    await exporter.close();
    assert.deepEqual(counts, { dropped: 1_000, exported: 10 });
  });

  it('counts what a collector refused, tells it once, and goes on', async () => {
    let status = 400;
    const collector = await listen((_request, response) => void response.writeHead(status).end());
    const { exporter, counts, states, reported } = exporterOf({ batchDelayMs: 1 });
    exporter.setEndpoint(collector.url);
    exporter.add(spans(2));
    await reported();
    exporter.add(spans(2));
    await reported();
    assert.deepEqual(counts, { failed: 4 });
    assert.deepEqual(states, [false]);
    status = 200;
    exporter.add(spans(1));
    await reported();
    assert.deepEqual(counts, { failed: 4, exported: 1 });
    assert.deepEqual(states, [false, true]);
  });

  it('follows a change of the endpoint, and sends what waited to the former one', async () => {
    const [one, two] = [await listen(ok), await listen(ok)];
    const { exporter, counts } = exporterOf();
    exporter.setEndpoint(one.url);
    exporter.add(spans(1));
    exporter.setEndpoint(two.url);
    exporter.add(spans(2));
    await one.next();
    await exporter.close();
    assert.deepEqual([one.requests.length, two.requests.length], [1, 1]);
    assert.deepEqual(counts, { exported: 3 });
    exporter.setEndpoint('');
    exporter.add(spans(5));
    assert.deepEqual(counts, { exported: 3 });
  });

  it('speaks OTLP/gRPC where the endpoint says so, and counts what arrived and what was refused', async () => {
    const refused = { code: status.INVALID_ARGUMENT, details: 'not these' };
    const answers: (ServiceError | null)[] = [null, refused as ServiceError];
    const collector = await listenGrpc((done) => done(answers.shift() ?? null, Buffer.alloc(0)));
    const { exporter, counts, states } = exporterOf();
    exporter.setEndpoint(collector.url);
    exporter.add(spans(3));
    await exporter.close();
    assert.deepEqual(counts, { exported: 3 });
    const [request] = collector.requests;
    assert.ok(request?.includes('payments.shop.svc.cluster.local'));
    assert.ok(request?.includes('waypoint.shop'));
    exporter.setEndpoint(collector.url);
    exporter.add(spans(2));
    await exporter.close();
    assert.deepEqual(counts, { exported: 3, failed: 2 });
    assert.deepEqual(states, [false]);
  });

  it('counts spans for an OTLP/gRPC collector that is not there as failed, and ends all the same', async () => {
    const collector = await listenGrpc((done) => done(null, Buffer.alloc(0)));
    collector.server.forceShutdown();
    const { exporter, counts } = exporterOf();
    exporter.setEndpoint(collector.url);
    exporter.add(spans(2));
    await exporter.close();
    assert.deepEqual(counts, { failed: 2 });
  });

  it('refuses what is no URL by name, and stays with the former one', async () => {
    const collector = await listen(ok);
    const { exporter, counts } = exporterOf();
    exporter.setEndpoint(collector.url);
    for (const wrong of [
      'collector:4318',
      'ftp://x',
      'nonsense',
      'grpc://collector',
      'grpc://collector:4317/v1',
      'grpc://10.0.0.256:4317',
      'grpc://a%00b:4317',
      'grpc://dns:4317',
    ]) {
      assert.throws(
        () => exporter.setEndpoint(wrong),
        new RegExp(`"${wrong}" is not of the form http://host:port`),
      );
    }
    exporter.add(spans(1));
    await exporter.close();
    assert.deepEqual(counts, { exported: 1 });
  });

  it('counts spans that say of themselves that they go nowhere, and goes on', async () => {
    const collector = await listen(ok);
    const { exporter, counts } = exporterOf();
    exporter.setEndpoint(collector.url);
    const [span] = spans(1);
    assert.ok(span);
    exporter.add([{ ...span, endpoint: 'grpc://10.0.0.256:4317' }, span, { ...span, endpoint: 'nonsense' }]);
    await exporter.close();
    assert.deepEqual(counts, { failed: 2, exported: 1 });
  });

  function exporterOf(options: { maxPending?: number; batchDelayMs?: number } = {}) {
    const counts: Partial<Record<SpanOutcome, number>> = {};
    const states: boolean[] = [];
    let wake: () => void = () => undefined;
    const exporter = new TraceExport({
      resource: { 'service.name': 'waypoint.shop' },
      count: (outcome, n) => {
        counts[outcome] = (counts[outcome] ?? 0) + n;
        setImmediate(() => wake());
      },
      onState: (working) => void states.push(working),
      // Only a close sends, unless a test asks otherwise.
      batchDelayMs: options.batchDelayMs ?? 600_000,
      ...(options.maxPending !== undefined && { maxPending: options.maxPending }),
    });
    closers.push(() => exporter.close());
    const reported = () => new Promise<void>((resolve) => (wake = resolve));
    return { exporter, counts, states, reported };
  }

  async function listenGrpc(answer: (done: sendUnaryData<Buffer>) => void) {
    const requests: Buffer[] = [];
    const server = new Server();
    const bytes = (value: Buffer): Buffer => value;
    server.addService(
      {
        export: {
          path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
          ...{ requestStream: false, responseStream: false },
          ...{ requestSerialize: bytes, requestDeserialize: bytes },
          ...{ responseSerialize: bytes, responseDeserialize: bytes },
        },
      },
      {
        export: (call: { request: Buffer }, done: sendUnaryData<Buffer>) => {
          requests.push(call.request);
          answer(done);
        },
      },
    );
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
    const port = await promise;
    closers.push(() => Promise.resolve(server.forceShutdown()));
    return { url: `grpc://127.0.0.1:${port}`, requests, server };
  }

  async function listen(answer: (request: IncomingMessage, response: ServerResponse) => void) {
    const requests: { url: string | undefined; type: string | undefined; body: Buffer }[] = [];
    let wake: () => void = () => undefined;
    const server = http.createServer((request, response) => {
      void request.toArray().then((chunks: Buffer[]) => {
        const body = Buffer.concat(chunks);
        requests.push({ url: request.url, type: request.headers['content-type'], body });
        answer(request, response);
        wake();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    });
    const { port } = server.address() as AddressInfo;
    const next = () =>
      requests.length > 0 ? Promise.resolve() : new Promise<void>((resolve) => (wake = resolve));
    return { url: `http://127.0.0.1:${port}`, requests, next };
  }
});

function ok(_request: IncomingMessage, response: ServerResponse): void {
  response.end();
}

function spans(count: number): SpanRecord[] {
  return Array.from({ length: count }, () => {
    const trace = new RequestTrace({}, { enabled: true, ratio: 1 });
    const [span] = spansOf(toyRequest({ trace }));
    assert.ok(span);
    return span;
  });
}
