import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { describe, it } from 'mocha';
import { listeningPorts } from '../../../../cli/local/listening.ts';

describe('local mesh: ports that somebody listens on', () => {
  it('are read from /proc', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    assert.ok(listeningPorts(process.pid).has(port));
    server.close();
    await once(server, 'close');
    assert.ok(!listeningPorts(process.pid).has(port));
  });

  it('of a process that is gone are none', () => {
    assert.equal(listeningPorts(2 ** 30).size, 0);
  });
});
