import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { after, before, describe, it } from 'mocha';
import { Protocol } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { OwnWaypoint } from '../support/own-waypoint.ts';

describe('waypoint/hbone: too little memory', () => {
  let echo: net.Server;
  let waypoint: OwnWaypoint;

  before(async () => {
    echo = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.pipe(socket);
    });
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    // Any process has more than a MB.
    waypoint = await OwnWaypoint.start({}, { memoryLimit: 1 << 20 });
    const { port } = echo.address() as AddressInfo;
    waypoint.serve({ name: 'echo', protocol: Protocol.TCP, targetPort: port, via: 'direct' });
  });
  after(async () => {
    await waypoint.close();
    echo.close();
  });

  it('refuses who comes, but not the first, and carries on what is open', async () => {
    const first = await waypoint.connect('echo');
    await assert.rejects(waypoint.connect('echo'), /status 503/);
    assert.equal(waypoint.counted()['no-memory'], 1);
    const told = waypoint.messages.filter((message) => message.type === 'log' && message.level === 'error');
    assert.equal(told.length, 1, JSON.stringify(told));
    assert.match(JSON.stringify(told), /too little memory is left.*"of":"process".*"limitMb":1/);
    first.write('still here');
    const [chunk] = (await once(first, 'data')) as [Buffer];
    assert.equal(chunk.toString(), 'still here');
    first.destroy();
    await once(first, 'close');
  });

  it('takes one again when none is open', async () => {
    let again;
    while (again === undefined) again = await waypoint.connect('echo').catch(() => undefined);
    again.destroy();
  });
});
