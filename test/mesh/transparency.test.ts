import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'mocha';
import { finished, Mesh } from './harness.ts';
import { BASE, podManifest, serverManifest, serviceManifest } from './manifests.ts';

interface Who {
  readonly remote: string;
  readonly local: string;
}
interface Dialled {
  readonly connected: boolean;
  readonly received: string;
  readonly end: string;
}

describe('mesh: applications notice nothing', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  let vip: string;
  before(async () => {
    mesh = await Mesh.up({
      ...BASE,
      'server.yaml': serverManifest('server', 'node-b', { iperf: 'iperf3 -s -p 5201' }),
      'redis.yaml': podManifest('redis', {
        node: 'node-b',
        commands: { redis: "redis-server --port 6379 --protected-mode no --save '' --appendonly no --dir /" },
        ports: [6379],
      }),
      'more-services.yaml': [
        serviceManifest('redis', 'redis', { 6379: 6379 }),
        serviceManifest('iperf', 'server', { 5201: 5201 }),
      ].join('---\n'),
    });
    const { stdout } = await mesh.exec('client', 'getent', 'ahostsv4', 'server');
    vip = stdout.split(/\s/)[0] ?? '';
    assert.match(vip, /^198\.1[89]\./);
  });
  after(() => mesh.down());

  for (const server of ['server', 'near']) {
    const where = server === 'server' ? 'another node' : 'the same node';

    it(`curl, on ${where}: the server sees the client's true address`, async () => {
      const { stdout, stderr } = await mesh.exec('client', 'curl', '-sS', `http://${server}/`);
      const seen = JSON.parse(stdout || '{}') as Partial<Who>;
      const { ip } = await mesh.pod('client');
      const address = (seen.remote ?? '').replace(/:\d+$/, '').replace('::ffff:', '');
      assert.equal(address, ip, `${stdout}${stderr}`);
      const pod = await mesh.pod(server);
      assert.match(seen.local ?? '', new RegExp(`${pod.ip.replaceAll('.', '\\.')}:8080$`));
    });

    it(`a protocol in which the server speaks first, on ${where}`, async () => {
      const [dialled] = (await mesh.client('client', 'listen', server, '7000', '1000')) as Dialled[];
      assert.match(dialled?.received ?? '', /^HELLO \{/);
      const greeting = JSON.parse((dialled?.received ?? '').slice('HELLO '.length)) as Who;
      assert.equal(greeting.remote.split(':')[0], (await mesh.pod('client')).ip);
    });

    it(`a half-close with nc -N, on ${where}`, async () => {
      const data = randomBytes(300_000);
      const child = await mesh.spawn('client', 'nc', '-N', server, '7001');
      const { code, stdout } = await finished(child, data);
      assert.equal(code, 0);
      assert.equal(stdout, `${data.length} ${createHash('sha256').update(data).digest('hex')}\n`);
    });
  }

  it("the database's own client", async () => {
    const set = await mesh.exec('client', 'redis-cli', '-h', 'redis', 'set', 'key', 'value');
    assert.equal(set.stdout, 'OK\n', set.stderr);
    assert.equal((await mesh.exec('client', 'redis-cli', '-h', 'redis', 'get', 'key')).stdout, 'value\n');
    const list = await mesh.exec('client', 'redis-cli', '-h', 'redis', 'client', 'list');
    assert.match(
      list.stdout,
      new RegExp(`addr=${(await mesh.pod('client')).ip}:`),
      'Redis knows the true client',
    );
  });

  for (const direction of ['forward', 'reverse'])
    it(`iperf3 ${direction}`, async () => {
      const args = [
        '-c',
        'iperf',
        '-p',
        '5201',
        '-n',
        '20M',
        '-J',
        ...(direction === 'reverse' ? ['-R'] : []),
      ];
      const { code, stdout } = await mesh.exec('client', 'iperf3', ...args);
      const report = JSON.parse(stdout) as {
        error?: string;
        end: Record<'sum_sent' | 'sum_received', { bytes: number }>;
      };
      assert.equal(code, 0, report.error ?? '');
      assert.ok(report.end.sum_sent.bytes >= 20_000_000);
      // Not all of it: iperf3 ends the test by word of another connection, which may overtake the last bytes.
      assert.ok(report.end.sum_received.bytes > 1_000_000);
    });

  it('getpeername and getsockname are what they were: the address dialled, and the own', async () => {
    const { ip } = await mesh.pod('client');
    const [names] = (await mesh.client('client', 'names', 'server', '80')) as Who[];
    assert.deepEqual(names, { remote: `${vip}:80`, local: ip });
    const server = await mesh.pod('server');
    const [direct] = (await mesh.client('client', 'names', server.ip, '8080')) as Who[];
    assert.deepEqual(direct, { remote: `${server.ip}:8080`, local: ip });
  });

  it('the same for a client with an IPv6 socket and v4-mapped addresses', async () => {
    const { ip } = await mesh.pod('client');
    const answers = (await mesh.client('client', 'names', `::ffff:${vip}`, '7000')) as (Who | Dialled)[];
    assert.deepEqual(answers[0], { remote: `::ffff:${vip}:7000`, local: `::ffff:${ip}` });
    const [, dialled] = answers as [Who, Dialled];
    assert.match(
      dialled.received,
      new RegExp(`"remote":"${ip}:`),
      'it went through the mesh, with its true address',
    );
  });

  it('a pod that dials its own Service reaches itself', async () => {
    // Its own short name is its host name, as in a cluster: only the longer one is the Service.
    const { stdout, stderr } = await mesh.exec(
      'server',
      'curl',
      '-sS',
      '--data',
      'to myself',
      // Its own short name is its host name, as in a cluster: only the longer one is the Service.
      'http://server.m/',
    );
    assert.equal(stdout, 'to myself', stderr);
  });
});
