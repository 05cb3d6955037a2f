import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { siblingModule } from '../../lib/package-root.ts';
import { bindSource } from '../../lib/linux/socket.ts';
import { InternalSources } from '../../ztunnel/proxy/pod-sockets.ts';
import { IPV4, IPV6 } from './support/families.ts';
import { PATIENCE } from '../support/patience.ts';
import { Lab } from './support/lab.ts';
import { MPTCP, Sock } from './support/socket.ts';
import { TinyMesh } from './support/tiny-mesh.ts';
import type { AcceptWork } from './support/accept-worker.ts';

// A race that is to be lost needs many tries; where each takes much longer, there are fewer.
const CONNECTIONS = Math.ceil(2500 / PATIENCE);

describe('bpf: accepted sockets say the right thing at once (FINDINGS, answer 5)', () => {
  let lab: Lab;
  let mesh: TinyMesh;

  beforeEach(() => {
    lab = new Lab();
    mesh = new TinyMesh();
  });
  afterEach(() => {
    mesh?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  function accepting(work: AcceptWork): Promise<unknown[]> {
    const worker = new Worker(siblingModule(import.meta.url, './support/accept-worker'), {
      workerData: work,
    });
    return once(worker, 'message');
  }

  for (const [what, protocol, { family, own }] of [
    ['TCP over IPv4', 0, IPV4],
    ['MPTCP over IPv4', MPTCP, IPV4],
    ['TCP over IPv6', 0, IPV6],
    ['MPTCP over IPv6', MPTCP, IPV6],
  ] as const) {
    it(`the true client, to an application that spins in accept() (${what})`, async () => {
      const { pod } = mesh.enrol(lab.pod('a'));
      using app = Sock.listen(pod.netnsFd, own(pod), 9300, { family, protocol });
      const client = { ip: family === 4 ? '192.0.2.9' : '2001:db8::9', port: 4242 };
      const sources = new InternalSources();
      app.nonBlocking();
      const result = accepting({
        listener: app.fd,
        connections: CONNECTIONS,
        expected: `${client.ip}:${client.port}`,
      });
      for (let i = 0; i < CONNECTIONS; i += 1) {
        using toApp = mesh.ownSocket(pod, client, family);
        // Closed in good order: a reset may overtake the last ACK of the handshake, and nobody accepts it.
        bindSource(toApp.fd, sources.next(family));
        assert.equal(toApp.connect(own(pod), 9300), 'ok');
      }
      assert.deepEqual(await result, [[]]);
      assert.equal(mesh.redirection.stats().records, 0);
    });
  }

  for (const { name, family, service } of [IPV4, IPV6]) {
    it(`the destination, to a proxy that asks for it at once (${name})`, async () => {
      const { pod, listeners } = mesh.enrol(lab.pod('a'));
      const originalDstMapFd = mesh.redirection.originalDstMapFd;
      const result = accepting({
        listener: listeners.outbound.fd,
        connections: CONNECTIONS,
        expected: `${service.ip}:${service.port}`,
        originalDstMapFd,
      });
      for (let i = 0; i < CONNECTIONS; i += 1) {
        using client = Sock.open(pod.netnsFd, { family });
        assert.equal(client.connect(service.ip, service.port), 'ok');
      }
      assert.deepEqual(await result, [[]]);
      assert.equal(mesh.redirection.stats().records, 0);
    });
  }
});
