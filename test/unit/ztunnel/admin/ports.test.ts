import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { textAnswer } from '../../../../lib/admin/http-routes.ts';
import { AdminPorts } from '../../../../ztunnel/admin/ports.ts';

describe('ztunnel/admin ports', () => {
  let port: number;
  let opened: AdminPorts[];

  beforeEach(async () => {
    const probe = net.createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    port = (probe.address() as AddressInfo).port;
    probe.close();
    opened = [];
  });
  afterEach(() => Promise.all(opened.map((ports) => ports.close())));

  const portsOf = (name: string): AdminPorts => {
    const ports = new AdminPorts([
      { address: { host: '127.0.0.1', port }, routes: { 'GET /': () => textAnswer(name) } },
    ]);
    opened.push(ports);
    return ports;
  };
  const asked = async (): Promise<string> =>
    (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).text();

  it('are opened where nobody has them, and answer', async () => {
    assert.equal(await portsOf('old').openIfFree(), true);
    assert.equal(await asked(), 'old\n');
  });

  it('stay with the one that serves until another takes over, without a moment in which none answers', async () => {
    const old = portsOf('old');
    const young = portsOf('young');
    assert.equal(await old.openIfFree(), true);
    assert.equal(await young.openIfFree(), false);
    for (let i = 0; i < 10; i += 1) assert.equal(await asked(), 'old\n');
    await young.open();
    await young.open();
    await old.close();
    for (let i = 0; i < 10; i += 1) assert.equal(await asked(), 'young\n');
    // And back, when the young one is gone.
    await old.open();
    await young.close();
    assert.equal(await asked(), 'old\n');
  });

  it('cannot be opened beside a stranger, and none of a set is then', async () => {
    const stranger = net.createServer().listen(port, '127.0.0.1');
    await once(stranger, 'listening');
    const ports = new AdminPorts([
      { address: { host: '127.0.0.1', port: 0 }, routes: {} },
      { address: { host: '127.0.0.1', port }, routes: {} },
    ]);
    opened.push(ports);
    assert.equal(await ports.openIfFree(), false);
    await assert.rejects(ports.open(), { code: 'EADDRINUSE' });
    stranger.close();
    await once(stranger, 'close');
    await ports.open();
  });
});
