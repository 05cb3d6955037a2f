import assert from 'node:assert/strict';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { closeFd } from '../../../../lib/linux/libc.ts';
import { openCurrentNetns } from '../../../../lib/linux/netns.ts';
import {
  destroyConnection,
  tcpConnections,
  type TcpConnection,
} from '../../../../lib/linux/tcp-connections.ts';

describe('TCP connections of a network namespace', () => {
  let netns: number;
  let server: Server;
  let sockets: Socket[];

  beforeEach(() => {
    netns = openCurrentNetns();
    sockets = [];
    server = createServer((socket) => void sockets.push(socket.on('error', () => undefined)));
  });
  afterEach(async () => {
    closeFd(netns);
    sockets.forEach((socket) => socket.destroy());
    server.close();
    await once(server, 'close');
  });

  async function connect(host: string): Promise<{ client: Socket; find: () => TcpConnection | undefined }> {
    server.listen(0, '::');
    await once(server, 'listening');
    const client = createConnection((server.address() as { port: number }).port, host);
    sockets.push(client);
    await once(client, 'connect');
    const { localPort } = client;
    return { client, find: () => tcpConnections(netns).find(({ local }) => local.port === localPort) };
  }

  for (const [host, ip] of [
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '::1'],
  ] as const) {
    it(`are listed with both ends, and no listener among them: ${host}`, async () => {
      const { client, find } = await connect(host);
      const found = find();
      assert.deepEqual(found?.remote, { ip, port: client.remotePort });
      assert.deepEqual(found?.local, { ip, port: client.localPort });
      const served = tcpConnections(netns).find(({ remote }) => remote.port === client.localPort);
      assert.equal(served?.remote.ip, ip, 'of an IPv6 socket too');
      assert.notEqual(served?.cookie, found?.cookie);
      assert.equal(find()?.cookie, found?.cookie);
      assert.equal(
        tcpConnections(netns).some(({ remote }) => remote.port === 0),
        false,
      );
    });
  }

  it('end when they are destroyed, which is said of each once', async () => {
    const { client, find } = await connect('127.0.0.1');
    const found = find();
    assert.ok(found);
    const ended = once(client, 'error');
    assert.equal(destroyConnection(netns, found), true);
    const [error] = (await ended) as [NodeJS.ErrnoException];
    assert.match(error.code ?? '', /ECONNABORTED|ECONNRESET/);
    assert.equal(find(), undefined);
    assert.equal(destroyConnection(netns, found), false);
  });
});
