import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { Driver } from '../driver.ts';
import { eventually } from '../harness.ts';
import { gatewayManifest } from '../manifests.ts';
import { throughMesh } from './mesh.ts';

describe('mesh: no way round a waypoint', function () {
  this.timeout(120_000);
  const mesh = throughMesh.use();
  let client: Driver;
  let outsider: Driver;
  before(async () => {
    client = await Driver.in(mesh(), 'client');
    outsider = await Driver.in(mesh(), 'outsider');
  });
  after(() => {
    client?.stop();
    outsider?.stop();
  });

  const reach = async (host: string): Promise<string> => {
    const answer = await client.request({ host, port: 80, path: '/via', fresh: true, timeoutMs: 10_000 });
    return answer.error ?? `${answer.status} ${answer.headers['x-pod']}`;
  };

  for (const [pod, node] of [
    ['far', 'node-b'],
    ['near', 'node-a'],
  ] as const) {
    it(`denies a client that dials the pod itself, on ${node}, and says which waypoint it passed by`, async () => {
      const { ip } = await mesh().pod(pod);
      const answer = await client.request({ host: ip, port: 8080, fresh: true });
      assert.equal(answer.status, undefined, JSON.stringify(answer));
      const line = await eventually('the denial in the log', () =>
        mesh()
          .accessLog(node)
          .find(
            (each) =>
              each.direction === 'inbound' && each.destination === `m/${pod}` && each.flags === 'DENY',
          ),
      );
      assert.match(line.error ?? '', /port 8080 is reached only through waypoint m\/way/);
      assert.equal(line.sourceIdentity, 'spiffe://cluster.local/ns/m/sa/client');
    });
  }

  it('leaves other ports of the pod alone', async () => {
    const { ip } = await mesh().pod('far');
    const { received } = await client.conversation(ip, 7000, [{ until: 'HELLO .*' }]);
    assert.match(received, /^HELLO /);
  });

  it('admits what came by the waypoint, from the first request on', async () => {
    assert.match(await reach('held'), /^200 (far|near) via way$/);
  });

  it('denies who comes in plaintext from outside the mesh', async () => {
    const { ip } = await mesh().pod('far');
    const answer = await outsider.request({ host: ip, port: 8080, fresh: true });
    assert.equal(answer.status, undefined, JSON.stringify(answer));
    const source = (await mesh().pod('outsider')).ip;
    await eventually('the denial in the log', () =>
      mesh()
        .accessLog('node-b')
        .find(
          (each) =>
            each.direction === 'inbound' &&
            each.flags === 'DENY' &&
            each.sourceIdentity === undefined &&
            each.error?.includes('only through waypoint m/way') === true,
        ),
    );
    assert.notEqual(source, ip);
  });

  it('refuses a Service whose waypoint does not exist, with a reason and a flag of its own', async () => {
    assert.doesNotMatch(await reach('lost'), /^200/);
    const line = await eventually('the refusal in the log', () =>
      mesh()
        .accessLog('node-a')
        .find((each) => each.direction === 'outbound' && each.service?.startsWith('lost.') === true),
    );
    assert.equal(line.flags, 'WAYPOINT');
    assert.match(line.error ?? '', /waypoint/);
    const { ip } = await mesh().pod('lost');
    assert.equal((await client.request({ host: ip, port: 8080, fresh: true })).status, undefined);
  });

  it('refuses when the Gateway goes, and serves again when it is back', async () => {
    mesh().remove('gateway.yaml');
    // Asked again and again: the first that fail are those whose tunnel ended with the waypoint.
    await eventually('the refusal with its reason', async () => {
      const answer = await reach('held');
      assert.doesNotMatch(answer, /via nobody/);
      return mesh()
        .accessLog('node-a')
        .some(
          (each) =>
            each.direction === 'outbound' &&
            each.service?.startsWith('held.') === true &&
            each.flags === 'WAYPOINT',
        );
    });
    assert.doesNotMatch(await reach('held'), /^200/);
    const { ip } = await mesh().pod('far');
    assert.equal((await client.request({ host: ip, port: 8080, fresh: true })).status, undefined);
    mesh().write('gateway.yaml', gatewayManifest('way'));
    await eventually('it to be served again', async () => /^200 \S+ via way$/.test(await reach('held')));
  });
});
