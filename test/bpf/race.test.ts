import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { siblingModule } from '../../lib/package-root.ts';
import { PATIENCE } from '../support/patience.ts';
import { Lab } from './support/lab.ts';
import { MPTCP, Sock } from './support/socket.ts';
import { TinyMesh } from './support/tiny-mesh.ts';
import type { AcceptWork } from './support/accept-worker.ts';

// A race that is to be lost needs many tries; where each takes much longer, there are fewer.
const CONNECTIONS = Math.ceil(5000 / PATIENCE);

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

  for (const [what, protocol] of [
    ['TCP', 0],
    ['MPTCP', MPTCP],
  ] as const) {
    it(`the true client, to an application that spins in accept() (${what})`, async () => {
      const { pod } = mesh.enrol(lab.pod('a'));
      using app = Sock.listen(pod.netnsFd, '0.0.0.0', 9300, { protocol });
      app.nonBlocking();
      const result = accepting({ listener: app.fd, connections: CONNECTIONS, expected: '192.0.2.9:4242' });
      for (let i = 0; i < CONNECTIONS; i += 1) {
        using own = mesh.ownSocket(pod, { ip: '192.0.2.9', port: 4242 });
        own.resetOnClose().bind(`127.1.${i % 200}.1`, 0);
        assert.equal(own.connect(pod.ip, 9300), 'ok');
      }
      assert.deepEqual(await result, [[]]);
      assert.equal(mesh.redirection.stats().records, 0);
    });
  }

  it('the destination, to a proxy that asks for it at once', async () => {
    const { pod, listeners } = mesh.enrol(lab.pod('a'));
    const originalDstMapFd = mesh.redirection.originalDstMapFd;
    const result = accepting({
      listener: listeners.outbound.fd,
      connections: CONNECTIONS,
      expected: '198.19.0.10:80',
      originalDstMapFd,
    });
    for (let i = 0; i < CONNECTIONS; i += 1) {
      using client = Sock.open(pod.netnsFd).resetOnClose();
      assert.equal(client.connect('198.19.0.10', 80), 'ok');
    }
    assert.deepEqual(await result, [[]]);
    assert.equal(mesh.redirection.stats().records, 0);
  });
});
