import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { Protocol } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { ISSUER, jwks, makeKey } from '../security/issuer.ts';
import { OwnWaypoint } from '../support/own-waypoint.ts';
import { RawClient } from '../support/raw-client.ts';
import { RecordingBackend } from '../support/recording-backend.ts';

const DETECT_TIMEOUT_MS = 20;

describe('waypoint: headers that only the waypoint may write', () => {
  let waypoint: OwnWaypoint;
  let backend: RecordingBackend;
  let token: string;

  before(async () => {
    waypoint = await OwnWaypoint.start({ detectTimeoutMs: DETECT_TIMEOUT_MS });
    backend = await RecordingBackend.start(waypoint.podIp);
    const issuer = await makeKey('first');
    token = await issuer.sign({ role: 'guest' });
    serve('web', Protocol.HTTP1);
    serve('detected', Protocol.DETECT);
    const service = keyOf('web');
    waypoint.configure({
      'authentication/default/tokens': {
        case: 'authentication',
        value: {
          namespace: 'default',
          name: 'tokens',
          jwtRules: [
            {
              issuer: ISSUER,
              jwks: jwks(issuer),
              outputClaimToHeaders: [{ header: 'x-role', claim: 'role' }],
            },
          ],
        },
      },
      'route/HTTPRoute/default/tenants': {
        case: 'route',
        value: {
          kind: 'HTTPRoute',
          namespace: 'default',
          name: 'tenants',
          parents: [{ service }],
          rules: [
            {
              filters: [
                { kind: { case: 'requestHeaders', value: { set: [{ name: 'x-tenant', value: 'shared' }] } } },
              ],
              backends: [{ service, port: 80, weight: 1 }],
            },
          ],
        },
      },
    });
  });
  after(async () => {
    await waypoint.close();
    backend.close();
  });

  function serve(name: string, protocol: Protocol): void {
    waypoint.serve({ name, protocol, targetPort: backend.port });
    const key = keyOf(name);
    waypoint.configure({
      [`service/${key}`]: {
        case: 'service',
        value: {
          ...{ key, name, namespace: 'default', served: true },
          ports: [{ port: 80, protocol }],
          authentication: ['default/tokens'],
        },
      },
    });
  }

  it('are not taken away because the client lists them in connection', async () => {
    const client = new RawClient(await waypoint.connect('web'));
    client.send(
      `GET / HTTP/1.1\r\nHost: web\r\nAuthorization: Bearer ${token}\r\nConnection: x-role, x-tenant, x-own\r\nX-Own: 1\r\n\r\n`,
    );
    assert.equal((await client.answer())?.status, 200);
    client.close();
    const headers = backend.take().requests[0]?.headers ?? [];
    assert.ok(headers.includes('x-role: guest'), headers.join());
    assert.ok(headers.includes('x-tenant: shared'), headers.join());
    assert.ok(!headers.some((line) => line.startsWith('x-own')), 'what is of one connection goes no further');
  });

  it('are not forged by a client that begins late, where tokens are verified', async () => {
    const client = new RawClient(await waypoint.connect('detected'));
    await new Promise((resolve) => setTimeout(resolve, 5 * DETECT_TIMEOUT_MS));
    client.send('GET / HTTP/1.1\r\nHost: web\r\nX-Role: admin\r\n\r\n');
    assert.equal((await client.answer())?.status, 200);
    client.send('GET / HTTP/1.1\r\nHost: web\r\nAuthorization: Bearer a.b.c\r\n\r\n');
    assert.equal((await client.answer())?.status, 401);
    client.close();
    const { requests } = backend.take();
    assert.equal(requests.length, 1);
    assert.ok(!requests[0]?.headers.some((line) => line.toLowerCase().startsWith('x-role')));
  });
});

function keyOf(name: string): string {
  return `default/${name}.default.svc.cluster.local`;
}
