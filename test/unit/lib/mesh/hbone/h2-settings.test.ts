import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
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
});
