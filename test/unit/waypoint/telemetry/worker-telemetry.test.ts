import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { pino } from 'pino';
import { TelemetryHub } from '../../../../waypoint/telemetry/telemetry-hub.ts';
import { WorkerTelemetry, type TelemetryBatch } from '../../../../waypoint/telemetry/worker-telemetry.ts';
import { unpackCounts } from '../../../../waypoint/telemetry/request-batch.ts';
import { toyRequest } from './records.ts';

describe('waypoint/telemetry: from the worker to the hub', () => {
  it('carries metrics, lines and spans by structured clone', async () => {
    const { worker, batches } = workerOf();
    worker.tracing = { enabled: true, ratio: 1 };
    const trace = worker.beginTrace({});
    trace.attempt({}, 1)(
      {
        address: undefined,
        service: undefined,
        identity: undefined,
        status: 200,
        grpcStatus: undefined,
        error: undefined,
      },
      2,
    );
    worker.requestEnded(toyRequest({ trace }));
    worker.flush();
    worker.flush();
    assert.equal(batches.length, 1, 'an empty batch is not sent');
    const [batch] = batches;
    assert.ok(batch);
    assert.equal(batch.spans.length, 2);

    const lines: string[] = [];
    const log = pino({}, { write: (line: string) => void lines.push(line) });
    const hub = new TelemetryHub({ log, version: 'test', gateway: 'shop/waypoint', node: 'node-a' });
    hub.apply('1', batch);
    await hub.close();
    const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
    assert.equal(line['scope'], 'access');
    assert.equal(line['msg'], 'request complete');
    assert.equal(line['trace'], trace.traceId);
    assert.equal('policy' in line, false);
    assert.match(await hub.metrics.text(), /^istio_requests_total\{.*\} 1$/m);
  });

  it('sends by itself soon after something happened', async () => {
    let arrived: (batch: TelemetryBatch) => void = () => undefined;
    const batch = new Promise<TelemetryBatch>((resolve) => (arrived = resolve));
    const worker = new WorkerTelemetry({ post: (sent) => arrived(sent) });
    worker.requestEnded(toyRequest());
    // The worker's timer keeps no process alive; this one does, until it came.
    const alive = setInterval(() => undefined, 1_000);
    assert.equal((await batch).access.length, 1);
    clearInterval(alive);
  });

  it('bounds what waits, and tells what it lost', () => {
    const { worker, batches } = workerOf();
    worker.tracing = { enabled: true, ratio: 1 };
    for (let i = 0; i < 20_010; i++) worker.requestEnded(toyRequest({ trace: worker.beginTrace({}) }));
    worker.flush();
    const [batch] = batches;
    assert.equal(batch?.access.length, 20_000);
    assert.equal(batch?.lostAccess, 10);
    assert.equal(batch?.spans.length, 4_096);
    assert.equal(batch?.lostSpans, 20_010 - 4_096);
    const [series] = unpackCounts(batch?.metrics.requests.counts ?? new Float64Array());
    assert.equal(series?.counts.requests, 20_010, 'metrics lose nothing');
  });

  it('makes no line below the level of the log', () => {
    const { worker, batches } = workerOf();
    worker.accessLevel = 'warn';
    worker.requestEnded(toyRequest());
    worker.requestEnded(toyRequest({ flags: ['DENY'] }));
    worker.flush();
    assert.deepEqual(
      batches[0]?.access.map(({ level }) => level),
      ['warn'],
    );
  });
});

function workerOf() {
  const batches: TelemetryBatch[] = [];
  const worker = new WorkerTelemetry({ post: (batch) => void batches.push(structuredClone(batch)) });
  return { worker, batches };
}
