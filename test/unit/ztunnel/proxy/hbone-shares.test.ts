import assert from 'node:assert/strict';
import { once } from 'node:events';
import type http2 from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { MemoryReserve } from '../../../../lib/mesh/hbone/memory-reserve.ts';
import { OwnZtunnel } from '../../../support/hostile/own-ztunnel.ts';
import { MemoryRelief } from '../../../../ztunnel/proxy/memory-relief.ts';
import { eventually } from '../support/streams.ts';

describe('ztunnel/proxy/hbone-server: shares of identities', () => {
  const limits = { tunnelsPerPod: 10, connectionsPerPod: 50 };
  let ztunnel: OwnZtunnel;

  beforeEach(async () => {
    ztunnel = await OwnZtunnel.start(limits);
  });
  afterEach(() => ztunnel.close());

  function connect(session: http2.ClientHttp2Session): http2.ClientHttp2Stream {
    const head = { ':method': 'CONNECT', ':authority': ztunnel.authority };
    const stream = session.request(head, { endStream: false });
    stream.on('error', () => undefined);
    return stream;
  }

  async function statusOf(stream: http2.ClientHttp2Stream): Promise<number | undefined> {
    const [headers] = (await once(stream, 'response')) as [{ ':status'?: number }];
    return headers[':status'];
  }

  it('leaves room for others, however many tunnels and connections one identity wants', async () => {
    const bundle = await ztunnel.client('greedy');
    const greedy = Array.from({ length: limits.tunnelsPerPod }, () => ztunnel.session(bundle));
    await eventually(() => greedy.filter(({ destroyed }) => destroyed).length === 2);
    assert.equal(ztunnel.mesh.metrics.takeBatch().refused['tunnels-of-identity'], 2);
    const kept = greedy.filter(({ destroyed }) => !destroyed);
    const [tunnel] = kept;
    assert.ok(tunnel !== undefined && kept.length === 8);
    const streams = Array.from({ length: limits.connectionsPerPod }, () => connect(tunnel));
    const statuses = await Promise.all(streams.map(statusOf));
    const admitted = statuses.filter((status) => status === 200).length;
    assert.deepEqual([admitted, new Set(statuses)], [40, new Set([200, 503])]);
    const other = ztunnel.session(await ztunnel.client('other'));
    assert.equal(await statusOf(connect(other)), 200);
    // What a peer gave back it may have again.
    for (const stream of streams) stream.close();
    await eventually(() => ztunnel.mesh.registry.size === 1);
    assert.equal(await statusOf(connect(tunnel)), 200);
    for (const session of kept) session.destroy();
    await eventually(() => ztunnel.server.size === 1);
    assert.equal(await statusOf(connect(ztunnel.session(bundle))), 200);
  });

  it('take a stream though memory is scarce where another pod holds the most, which makes room', async () => {
    const { mesh } = ztunnel;
    const memory = new MemoryReserve({
      limit: 0,
      open: () => 1,
      onChange: () => undefined,
      measure: () => [{ of: 'process', used: 90, limit: 100 }],
      reclaim: () => undefined,
    });
    const told: [string, number][] = [];
    const relief = new MemoryRelief({
      registry: mesh.registry,
      limit: () => memory.nearestLimit,
      onCut: (pod, connections) => void told.push([pod, connections]),
    });
    Object.assign(mesh, { memory, relief });
    const session = ztunnel.session(await ztunnel.client('small'));
    assert.equal(await statusOf(connect(session)), 503);
    const cut: string[] = [];
    mesh.registry.register({
      podUid: 'uid-hog',
      direction: 'outbound',
      heldBytes: 1_000,
      recheck: () => undefined,
      terminate: ({ code }) => void cut.push(code),
      describe: () => assert.fail('not asked for'),
    });
    // One look at who holds what counts for a moment.
    while ((await statusOf(connect(session))) !== 200) await sleep(20);
    assert.deepEqual(cut, ['MEMORY_SCARCE']);
    assert.deepEqual(told, [['uid-hog', 1]]);
  });
});
