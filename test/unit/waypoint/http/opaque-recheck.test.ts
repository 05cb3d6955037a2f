import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { after, before, describe, it } from 'mocha';
import {
  AuthorizationPolicy_Action as Action,
  Protocol,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { OwnWaypoint } from '../support/own-waypoint.ts';

const KEY = 'default/echo.default.svc.cluster.local';

describe('waypoint: connections that are open when policies change', () => {
  let waypoint: OwnWaypoint;
  let echo: net.Server;

  before(async () => {
    waypoint = await OwnWaypoint.start();
    echo = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.pipe(socket);
    });
    echo.listen(0, waypoint.podIp);
    await once(echo, 'listening');
    const { port } = echo.address() as AddressInfo;
    waypoint.serve({ name: 'echo', protocol: Protocol.TCP, targetPort: port });
  });
  after(async () => {
    await waypoint.close();
    echo.close();
  });

  function deny(namespace: string): void {
    const ports = [{ port: 80, protocol: Protocol.TCP }];
    waypoint.configure({
      'authorization/default/no': {
        case: 'authorization',
        value: {
          namespace: 'default',
          name: 'no',
          action: Action.DENY,
          rules: [{ from: [{ namespaces: [namespace] }] }],
        },
      },
      [`service/${KEY}`]: {
        case: 'service',
        value: {
          key: KEY,
          name: 'echo',
          namespace: 'default',
          served: true,
          ports,
          authorization: ['default/no'],
        },
      },
    });
  }

  it('go on while they are allowed, and are cut when they are not', async () => {
    const stream = await waypoint.connect('echo');
    const say = async (text: string): Promise<string> => {
      stream.write(text);
      const [chunk] = (await once(stream, 'data')) as [Buffer];
      return chunk.toString();
    };
    assert.equal(await say('before'), 'before');
    deny('somebody-else');
    assert.equal(await say('still'), 'still');
    const closed = new Promise((resolve) => stream.once('close', resolve));
    deny('default');
    await closed;
    assert.notEqual(stream.rstCode, 0, 'a cut is no clean end');
  });
});
