import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import { afterEach, describe, it } from 'mocha';
import type { Workload } from '../../../../lib/mesh/state/model.ts';
import { Cancellation } from '../../../../waypoint/http/cancellation.ts';
import type { UpstreamAttempt } from '../../../../waypoint/http/exchange.ts';
import { CircuitBreaker } from '../../../../waypoint/resilience/circuit-breaker.ts';
import { EndpointDialer } from '../../../../waypoint/upstream/endpoint-connector.ts';
import { EndpointPeer } from '../../../../waypoint/upstream/endpoint-peer.ts';
import { listen, request } from '../support/endpoints.ts';
import { eventually, readAll } from '../support/streams.ts';

type Protocol = 'http1' | 'http2';

describe('waypoint: places on connections', () => {
  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });

  async function endpoint(protocol: Protocol, streams = 100): Promise<{ port: number; most: () => number }> {
    let open = 0;
    let most = 0;
    const server: http.Server | http2.Http2Server =
      protocol === 'http1'
        ? http.createServer((_request, response) => setTimeout(() => response.end('ok'), 1))
        : http2.createServer(
            { settings: { maxConcurrentStreams: streams } },
            (_request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) =>
              setTimeout(() => response.end('ok'), 1),
          );
    server.on('connection', (socket: NodeJS.EventEmitter) => {
      most = Math.max(most, (open += 1));
      socket.on('close', () => (open -= 1));
    });
    ends.push(() => server.close());
    return { port: await listen(server), most: () => most };
  }

  /** Peers of one backend that may have so many connections. */
  function backend(maxConnections: number, ports: readonly number[], maxPendingRequests = 0) {
    const circuit = new CircuitBreaker({
      maxConnections,
      maxPendingRequests,
      maxRequests: 0,
      maxRequestsPerConnection: 0,
    });
    const peers: EndpointPeer[] = [];
    // Without a tunnel nothing else of it is used.
    const dialer = new EndpointDialer({} as never);
    for (const port of ports) {
      peers.push(
        new EndpointPeer(
          { dialer },
          {
            path: { via: 'direct', target: { ip: '127.0.0.1', port } },
            workload: {} as Workload,
            circuit,
            service: 'web.t',
            connectTimeoutMs: 1_000,
            siblings: () => peers,
          },
        ),
      );
    }
    ends.push(() => {
      for (const peer of peers) peer.retire();
    });
    return { circuit, peers };
  }

  const never = new Cancellation();

  async function get(peer: EndpointPeer, protocol: Protocol): Promise<string> {
    const begun = await peer.begin(protocol, request(), never);
    if (typeof begun === 'string') return begun;
    const { body } = await (begun satisfies UpstreamAttempt).response;
    return (await readAll(body as never)).toString();
  }

  for (const protocol of ['http1', 'http2'] as const)
    for (const maxConnections of [1, 2])
      it(`${protocol}: ${maxConnections} at most carry all that come at once`, async () => {
        const { port, most } = await endpoint(protocol, 2);
        const { circuit, peers } = backend(maxConnections, [port]);
        const [peer] = peers;
        assert.ok(peer);
        const answers = await Promise.all(Array.from({ length: 40 }, () => get(peer, protocol)));
        assert.deepEqual(new Set(answers), new Set(['ok']));
        assert.ok(most() <= maxConnections, `${most()} connections`);
        assert.equal(circuit.stats().pending, 0);
        peer.retire();
        await eventually(() => circuit.stats().connections === 0);
      });

  for (const protocols of [
    ['http1', 'http1'],
    ['http2', 'http2'],
    ['http1', 'http2'],
  ] as const)
    it(`an idle connection makes room for another endpoint (${protocols.join(', ')})`, async () => {
      const [one, two] = [await endpoint(protocols[0]), await endpoint(protocols[1])];
      const { peers } = backend(1, [one.port, two.port]);
      for (let i = 0; i < 3; i += 1) {
        for (const [n, peer] of peers.entries())
          assert.equal(await get(peer, protocols[n] as Protocol), 'ok');
      }
    });

  it('a turn that is not used goes to the next who waits', async () => {
    const { port } = await endpoint('http1');
    const { circuit, peers } = backend(1, [port]);
    const [peer] = peers;
    assert.ok(peer);
    assert.ok(circuit.tryConnection(), 'the one connection is somebody else’s');
    const first = new Cancellation();
    const given = peer.begin('http1', request(), first);
    const second = get(peer, 'http1');
    assert.equal(circuit.stats().pending, 2);
    circuit.endConnection();
    // Its turn has come, but it has not run yet.
    first.cancel();
    assert.equal(await given, 'aborted');
    assert.equal(await second, 'ok');
  });

  it('so many wait and no more', async () => {
    const { port } = await endpoint('http1');
    const { circuit, peers } = backend(1, [port], 1);
    const [peer] = peers;
    assert.ok(peer);
    assert.ok(circuit.tryConnection());
    const waits = get(peer, 'http1');
    assert.equal(await get(peer, 'http1'), 'refused');
    circuit.endConnection();
    assert.equal(await waits, 'ok');
  });

  it('a connection that cannot be made is not counted', async () => {
    const { port } = await endpoint('http1');
    for (const end of ends.splice(0)) end();
    const { circuit, peers } = backend(1, [port]);
    const [peer] = peers;
    assert.ok(peer);
    for (const protocol of ['http1', 'http2'] as const) {
      const begun = await peer.begin(protocol, request(), never);
      assert.ok(typeof begun !== 'string');
      await assert.rejects(begun.response);
    }
    assert.equal(circuit.stats().connections, 0);
  });
});
