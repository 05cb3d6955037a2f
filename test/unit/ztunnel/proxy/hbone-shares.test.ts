import assert from 'node:assert/strict';
import { once } from 'node:events';
import type http2 from 'node:http2';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { OwnZtunnel } from '../../../support/hostile/own-ztunnel.ts';
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
});
