import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { openNetns } from '../../../../lib/linux/netns.ts';
import { bind4, closeFd, localAddress, tcpSocket4 } from '../../../../lib/linux/socket.ts';
import { DescriptorReserve } from '../../../../ztunnel/proxy/descriptor-reserve.ts';
import { Listener } from '../../../../ztunnel/proxy/listener.ts';
import { errorCode } from '../support/streams.ts';

describe('ztunnel/proxy/listener', () => {
  let listener: Listener | undefined;
  let crowded: number;
  let accepted: net.Socket[];

  beforeEach(() => {
    crowded = 0;
    accepted = [];
  });

  afterEach(() => {
    listener?.close();
    for (const socket of accepted) socket.destroy();
  });

  async function listen(reserve: DescriptorReserve): Promise<number> {
    const netns = openNetns('/proc/self/ns/net');
    const fd = tcpSocket4(netns);
    closeFd(netns);
    bind4(fd, '127.0.0.1', 0);
    listener = new Listener(fd, reserve, {
      connection: (socket) => void accepted.push(socket),
      crowded: () => (crowded += 1),
      failed: (error) => assert.fail(error),
    });
    await listener.ready;
    return localAddress(fd).port;
  }

  it('accepts while there are descriptors', async () => {
    const client = net.connect(await listen(new DescriptorReserve()), '127.0.0.1');
    await once(client, 'connect');
    client.destroy();
    assert.equal(crowded, 0);
  });

  it('resets what would take the last descriptors, and says so', async () => {
    // Numbers from 7 on are the reserve: this process has more than those already.
    const client = net.connect(await listen(new DescriptorReserve(8)), '127.0.0.1');
    assert.equal(await errorCode(client), 'ECONNRESET');
    assert.deepEqual([crowded, accepted.length], [1, 0]);
  });
});
