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
import { Listener, type ListenerHandlers } from '../../../../../lib/mesh/hbone/listener.ts';
import { errorCode } from '../../../ztunnel/support/streams.ts';

describe('ztunnel/proxy/listener', () => {
  let listener: Listener | undefined;
  let crowded: string[];
  let accepted: net.Socket[];
  let failures: Error[];

  beforeEach(() => {
    crowded = [];
    accepted = [];
    failures = [];
  });

  afterEach(() => {
    listener?.close();
    for (const socket of accepted) socket.destroy();
  });

  async function listen(
    isTooMany: ListenerHandlers['isTooMany'] = (socket) =>
      new DescriptorReserve().isTouchedBy(socket) ? 'no-descriptors' : undefined,
  ): Promise<number> {
    const netns = openNetns('/proc/self/ns/net');
    const fd = tcpSocket(netns);
    closeFd(netns);
    bindTo(fd, '127.0.0.1', 0);
    listener = new Listener(fd, {
      connection: (socket) => void accepted.push(socket),
      isTooMany,
      crowded: (scarcity) => void crowded.push(scarcity),
      failed: (error) => void failures.push(error),
    });
    await listener.ready;
    return localAddress(fd).port;
  }

  it('accepts while there are descriptors', async () => {
    const client = net.connect(await listen(), '127.0.0.1');
    await once(client, 'connect');
    client.destroy();
    assert.deepEqual(crowded, []);
  });

  it('resets what would take the last descriptors, and says so', async () => {
    // Numbers from 7 on are the reserve: this process has more than those already.
    const reserve = new DescriptorReserve(8);
    const port = await listen((socket) => (reserve.isTouchedBy(socket) ? 'no-descriptors' : undefined));
    assert.equal(await errorCode(net.connect(port, '127.0.0.1')), 'ECONNRESET');
    assert.deepEqual([crowded, accepted.length], [['no-descriptors'], 0]);
  });

  it('lets as many wait as the agent meant', async () => {
    const port = await listen();
    const [, , backlog] = execFileSync('ss', ['-Hlnt', `sport = :${port}`], { encoding: 'utf8' })
      .trim()
      .split(/\s+/);
    const most = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
    assert.equal(Number(backlog), Math.min(DEFAULT_BACKLOG, most));
  });

  it('that was destroyed is told of once and given up', async () => {
    const port = await listen();
    execFileSync('ss', ['-K', '-Hlnt', `sport = :${port}`]);
    while (failures.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    // Given up: the thread is idle again, and nothing more is told.
    await new Promise((resolve) => setTimeout(resolve, 600));
    assert.equal(failures.length, 1, failures.map((error) => error.message).join('; '));
  });
});
