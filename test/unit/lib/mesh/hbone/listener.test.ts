import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { openNetns } from '../../../../../lib/linux/netns.ts';
import {
  bindTo,
  closeFd,
  DEFAULT_BACKLOG,
  localAddress,
  tcpSocket,
} from '../../../../../lib/linux/socket.ts';
import { DescriptorReserve } from '../../../../../lib/mesh/hbone/descriptor-reserve.ts';
import { Listener } from '../../../../../lib/mesh/hbone/listener.ts';
import { errorCode } from '../../../ztunnel/support/streams.ts';

describe('ztunnel/proxy/listener', () => {
  let listener: Listener | undefined;
  let crowded: number;
  let accepted: net.Socket[];
  let failures: Error[];

  beforeEach(() => {
    crowded = 0;
    accepted = [];
    failures = [];
  });

  afterEach(() => {
    listener?.close();
    for (const socket of accepted) socket.destroy();
  });

  async function listen(reserve: DescriptorReserve): Promise<number> {
    const netns = openNetns('/proc/self/ns/net');
    const fd = tcpSocket(netns);
    closeFd(netns);
    bindTo(fd, '127.0.0.1', 0);
    listener = new Listener(fd, reserve, {
      connection: (socket) => void accepted.push(socket),
      crowded: () => (crowded += 1),
      failed: (error) => void failures.push(error),
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

  it('lets as many wait as the agent meant', async () => {
    const port = await listen(new DescriptorReserve());
    const [, , backlog] = execFileSync('ss', ['-Hlnt', `sport = :${port}`], { encoding: 'utf8' })
      .trim()
      .split(/\s+/);
    const most = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
    assert.equal(Number(backlog), Math.min(DEFAULT_BACKLOG, most));
  });

  it('that was destroyed is told of once and given up', async () => {
    const port = await listen(new DescriptorReserve());
    execFileSync('ss', ['-K', '-Hlnt', `sport = :${port}`]);
    while (failures.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    // Given up: the thread is idle again, and nothing more is told.
    await new Promise((resolve) => setTimeout(resolve, 600));
    assert.equal(failures.length, 1, failures.map((error) => error.message).join('; '));
  });
});
