import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { appFile, eventually } from '../harness.ts';
import { allowOnly } from '../manifests.ts';
import { type Dialled, plainMesh } from './mesh.ts';

const clientFile = appFile('client.mjs');

describe('mesh: policy', function () {
  this.timeout(180_000);
  // Before the mesh's own end, which may come with this file.
  after(async () => {
    for (const server of ['server', 'near']) {
      mesh().remove(`${server}-policy.yaml`);
      await eventually('everybody to be let in again', async () =>
        (await listen('other', server)).received.startsWith('HELLO'),
      );
    }
  });
  const mesh = plainMesh.use();
  before(async () => {
    for (const server of ['server', 'near']) {
      mesh().write(`${server}-policy.yaml`, allowOnly(server, 'client'));
      await eventually(
        `the policy of ${server}`,
        async () => (await listen('other', server)).received === '',
      );
    }
  });

  /** Dials the server-first port and says nothing: whatever arrives was let through. */
  async function listen(pod: string, host: string, ms = 10_000): Promise<Dialled> {
    return (await mesh().client(pod, 'listen', host, '7000', String(ms)))[0] as Dialled;
  }

  for (const [server, node] of [
    ['server', 'node-b'],
    ['near', 'node-a'],
  ] as const) {
    it(`closes a denied connection to ${node} before any application byte, and says why`, async () => {
      const allowed = await listen('client', server);
      assert.match(allowed.received, /^HELLO /);
      // A connection of before, which the policy met half-way, was cut with bytes behind it.
      const began = Date.now();
      const denied = await listen('other', server);
      assert.equal(denied.received, '');
      assert.notEqual(denied.end, 'timeout', 'it is closed, not left hanging');

      const line = await eventually('the denial in the log', () =>
        mesh()
          .accessLog(node)
          .find(
            (each) =>
              each.direction === 'inbound' &&
              each.source === 'm/other' &&
              each.flags === 'DENY' &&
              (each.beganAt ?? 0) >= began,
          ),
      );
      assert.equal(line.policy, `m/${server}-policy`);
      assert.equal(line.sourceIdentity, 'spiffe://cluster.local/ns/m/sa/other');
      assert.equal(line.bytesSent + line.bytesReceived, 0);
      const metric = await eventually('the denial in the metrics', async () =>
        (await mesh().metrics(node))
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

  it('denies by every address of either family, however it is written, and from outside', async () => {
    const vip = async (family: 4 | 6): Promise<string> =>
      (await mesh().exec('client', 'getent', `ahostsv${family}`, 'server')).stdout.split(/\s/)[0] ?? '';
    const [ip4 = '', ip6 = ''] = (await mesh().pod('server')).ips;
    const [vip4, vip6] = [await vip(4), await vip(6)];
    assert.match(`${ip6} ${vip6}`, /^fd4c:\S+ fd4c:/);
    for (const host of [ip4, ip6, vip4, vip6, `::ffff:${ip4}`, `::ffff:${vip4}`]) {
      assert.match((await listen('client', host)).received, /^HELLO /, `${host} for whom the policy allows`);
      const denied = await listen('other', host);
      assert.equal(denied.received, '', host);
      assert.notEqual(denied.end, 'timeout', host);
    }
    for (const host of [ip4, ip6, `::ffff:${ip4}`])
      assert.equal((await listen('outsider', host)).received, '', `${host} from outside`);
    // A neighbour on the same bridge needs no route for a link-local address.
    const { stdout } = await mesh().exec(
      'near',
      'ip',
      '-6',
      '-o',
      'addr',
      'show',
      'dev',
      'eth0',
      'scope',
      'link',
    );
    const local = /inet6 (fe80:[0-9a-f:]+)/.exec(stdout)?.[1];
    assert.ok(local !== undefined);
    for (const pod of ['client', 'other', 'outsider'])
      assert.equal((await listen(pod, `${local}%eth0`, 700)).received, '', `link-local from ${pod}`);
  });

  it('denies who comes in plaintext from outside the mesh', async () => {
    const { ip } = await mesh().pod('server');
    const denied = await listen('outsider', ip);
    assert.equal(denied.received, '');
    assert.notEqual(denied.end, 'timeout');
  });

  it('follows an edit both ways, and ends an open connection that the new rule forbids', async () => {
    mesh().write('server-policy.yaml', allowOnly('server', 'client', 'other'));
    await eventually('other to be let in', async () =>
      (await listen('other', 'server')).received.startsWith('HELLO'),
    );

    const held = await mesh().spawn('other', 'node', clientFile, 'hold', 'server', '7000');
    let said = '';
    held.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await eventually('the connection to be open', () => said.includes('"open"'));
    const stays = await mesh().spawn('client', 'node', clientFile, 'hold', 'server', '7000');
    let stayed = '';
    stays.stdout?.on('data', (chunk: Buffer) => (stayed += chunk.toString()));
    await eventually('the other connection to be open', () => stayed.includes('"open"'));

    mesh().write('server-policy.yaml', allowOnly('server', 'client'));
    await eventually('the open connection to be closed', () => said.includes('"closed"'));
    assert.ok(!stayed.includes('"closed"'), 'the connection that is still allowed lives on');
    assert.equal((await listen('other', 'server')).received, '');
    stays.kill();
    const cut = await eventually('the reason in the log', () =>
      mesh()
        .accessLog('node-b')
        .find((line) => line.error?.includes('policy change') === true),
    );
    assert.equal(cut.policy, 'm/server-policy');
  });

  it('keeps the last good state of a policy that is broken by an edit, and says what is wrong', async () => {
    mesh().write(
      'server-policy.yaml',
      allowOnly('server', 'client').replace('action: ALLOW', 'action: ALOW'),
    );
    const object = await eventually('the rejection', async () =>
      (await mesh().status()).controller?.objects.find(
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
