import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { appFile, eventually, Mesh } from './harness.ts';
import { allowOnly, BASE } from './manifests.ts';

interface Dialled {
  readonly connected: boolean;
  readonly received: string;
  readonly end: string;
}

const clientFile = appFile('client.mjs');

describe('mesh: policy', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  before(async () => {
    mesh = await Mesh.up({
      ...BASE,
      'server-policy.yaml': allowOnly('server', 'client'),
      'near-policy.yaml': allowOnly('near', 'client'),
    });
  });
  after(() => mesh.down());

  /** Dials the server-first port and says nothing: whatever arrives was let through. */
  async function listen(pod: string, host: string): Promise<Dialled> {
    return (await mesh.client(pod, 'listen', host, '7000', '2000'))[0] as Dialled;
  }

  for (const [server, node] of [
    ['server', 'node-b'],
    ['near', 'node-a'],
  ] as const) {
    it(`closes a denied connection to ${node} before any application byte, and says why`, async () => {
      const allowed = await listen('client', server);
      assert.match(allowed.received, /^HELLO /);
      const denied = await listen('other', server);
      assert.equal(denied.received, '');
      assert.notEqual(denied.end, 'timeout', 'it is closed, not left hanging');

      const line = await eventually('the denial in the log', () =>
        mesh
          .accessLog(node)
          .find((each) => each.direction === 'inbound' && each.source === 'm/other' && each.flags === 'DENY'),
      );
      assert.equal(line.policy, `m/${server}-policy`);
      assert.equal(line.sourceIdentity, 'spiffe://cluster.local/ns/m/sa/other');
      assert.equal(line.bytesSent + line.bytesReceived, 0);
      const metric = await eventually('the denial in the metrics', async () =>
        (await mesh.metrics(node))
          .split('\n')
          .find(
            (each) =>
              each.startsWith('istio_tcp_connections_failed_total{') &&
              each.includes('reporter="destination"') &&
              each.includes('source_workload="other"') &&
              each.includes('response_flags="DENY"'),
          ),
      );
      assert.match(metric, /connection_security_policy="mutual_tls"/);
    });
  }

  it('denies who comes in plaintext from outside the mesh', async () => {
    const { ip } = await mesh.pod('server');
    const denied = await listen('outsider', ip);
    assert.equal(denied.received, '');
    assert.notEqual(denied.end, 'timeout');
  });

  it('follows an edit both ways, and ends an open connection that the new rule forbids', async () => {
    mesh.write('server-policy.yaml', allowOnly('server', 'client', 'other'));
    await eventually('other to be let in', async () =>
      (await listen('other', 'server')).received.startsWith('HELLO'),
    );

    const held = await mesh.spawn('other', 'node', clientFile, 'hold', 'server', '7000');
    let said = '';
    held.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await eventually('the connection to be open', () => said.includes('"open"'));
    const stays = await mesh.spawn('client', 'node', clientFile, 'hold', 'server', '7000');
    let stayed = '';
    stays.stdout?.on('data', (chunk: Buffer) => (stayed += chunk.toString()));
    await eventually('the other connection to be open', () => stayed.includes('"open"'));

    mesh.write('server-policy.yaml', allowOnly('server', 'client'));
    await eventually('the open connection to be closed', () => said.includes('"closed"'));
    assert.ok(!stayed.includes('"closed"'), 'the connection that is still allowed lives on');
    assert.equal((await listen('other', 'server')).received, '');
    stays.kill();
    const cut = await eventually('the reason in the log', () =>
      mesh.accessLog('node-b').find((line) => line.error?.includes('policy change') === true),
    );
    assert.equal(cut.policy, 'm/server-policy');
  });

  it('keeps the last good state of a policy that is broken by an edit, and says what is wrong', async () => {
    mesh.write('server-policy.yaml', allowOnly('server', 'client').replace('action: ALLOW', 'action: ALOW'));
    const object = await eventually('the rejection', async () =>
      (await mesh.status()).controller?.objects.find(
        (each) => each.name === 'server-policy' && each.state === 'rejected',
      ),
    );
    assert.equal(object.file, 'server-policy.yaml');
    assert.match(object.field ?? '', /action/);
    assert.match(object.allowed ?? '', /ALLOW/);
    assert.equal(object.lastGood, true);
    assert.equal((await listen('other', 'server')).received, '', 'still denied');
    assert.match((await listen('client', 'server')).received, /^HELLO/, 'still allowed');
  });
});
