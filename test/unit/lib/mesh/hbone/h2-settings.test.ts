import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { keepSessionAlive } from '../../../../../lib/mesh/hbone/h2-settings.ts';

/** An empty SETTINGS frame. */
const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const TIMES = { intervalMs: 10, timeoutMs: 30 };

describe('ztunnel/proxy/h2-settings', () => {
  let vanished: net.Server;
  let session: http2.ClientHttp2Session;

  beforeEach(async () => {
    vanished = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write(SETTINGS);
    });
    vanished.listen(0, '127.0.0.1');
    await once(vanished, 'listening');
    session = http2.connect(`http://127.0.0.1:${(vanished.address() as net.AddressInfo).port}`);
    session.on('error', () => undefined);
    await once(session, 'remoteSettings');
  });

  afterEach(() => {
    session.destroy();
    vanished.close();
  });

  it('gives up a session whose peer does not answer', async () => {
    await new Promise<void>((resolve) => keepSessionAlive(session, resolve, TIMES));
  });

  it('gives a session another chance when this process stood still itself', async () => {
    let gaveUp = false;
    keepSessionAlive(session, () => (gaveUp = true), { intervalMs: 10, timeoutMs: 200 });
    // The PING is out.
    await sleep(50);
    const until = performance.now() + 400;
    while (performance.now() < until);
    // The timer that is due comes before whatever arrived meanwhile is read.
    await sleep(0);
    assert.equal(gaveUp, false);
    while (!gaveUp) await sleep(10);
  });
});
