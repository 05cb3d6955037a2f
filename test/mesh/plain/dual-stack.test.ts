import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { eventually } from '../harness.ts';
import { type Dialled, FAMILIES, plainMesh, type Who } from './mesh.ts';
import { ipOf, resolved } from './names.ts';
import { PATIENCE } from '../../support/patience.ts';

/** RFC 3849: nobody has it. */
const NOWHERE6 = '2001:db8::1';

describe('mesh: both IP families', function () {
  this.timeout(180_000);
  const mesh = plainMesh.use();

  async function curl(pod: string, ...args: string[]): Promise<Partial<Who>> {
    const { stdout, stderr } = await mesh().exec(pod, 'curl', '-sS', '-g', ...args);
    assert.notEqual(stdout, '', stderr);
    return JSON.parse(stdout) as Who;
  }

  for (const family of FAMILIES) {
    for (const server of ['server', 'near']) {
      it(`curl -${family} to ${server}: the server sees the client's true address`, async () => {
        const seen = await curl('client', `-${family}`, `http://${server}/`);
        const remote = (seen.remote ?? '').replace(/:\d+$/, '').replace('::ffff:', '');
        assert.equal(remote, await ipOf(mesh(), 'client', family));
        assert.ok((seen.local ?? '').includes(await ipOf(mesh(), server, family)));
      });
    }

    it(`IPv${family}: getpeername and getsockname are the address dialled and the own`, async () => {
      const own = await ipOf(mesh(), 'client', family);
      const vip = await resolved(mesh(), 'client', 'server', family);
      assert.match(vip, family === '6' ? /^fd4c:/ : /^198\./);
      const [names] = (await mesh().client('client', 'names', vip, '80')) as Who[];
      assert.deepEqual(names, { remote: `${vip}:80`, local: own });
      const pod = await ipOf(mesh(), 'server', family);
      const [direct] = (await mesh().client('client', 'names', pod, '8080')) as Who[];
      assert.deepEqual(direct, { remote: `${pod}:8080`, local: own });
    });
  }

  it('a pod with IPv6 alone is reached and reaches others, by both kinds of virtual address where it has them', async () => {
    const six = await ipOf(mesh(), 'six', '6');
    assert.deepEqual((await mesh().pod('six')).ips, [six]);
    const into = await curl('client', '-6', 'http://six/');
    assert.ok((into.remote ?? '').includes(await ipOf(mesh(), 'client', '6')));
    // By the IPv4 virtual address too: the tunnel crosses over, and the client is shown in the tunnel's family.
    const crossed = await curl('client', '-4', 'http://six/');
    assert.ok((crossed.remote ?? '').includes(await ipOf(mesh(), 'client', '6')), String(crossed.remote));
    const out = await curl('six', '-6', 'http://server/');
    assert.ok((out.remote ?? '').includes(six));
    const named = await curl('six', 'http://server/');
    assert.ok((named.remote ?? '').includes(six), 'a name leads to the family that it has');
  });

  it('a Service has the families that it asks for, and no others', async () => {
    assert.match(await resolved(mesh(), 'client', 'single', '4'), /^198\./);
    const { stdout: none } = await mesh().exec('client', 'grep', '-c', 'fd4c.* single.m.svc ', '/etc/hosts');
    assert.equal(none.trim(), '0');
    assert.match(await resolved(mesh(), 'client', 'only-six', '6'), /^fd4c:/);
    const seen = await curl('client', 'http://only-six/');
    assert.ok((seen.remote ?? '').includes(await ipOf(mesh(), 'client', '6')));
  });

  it('a pod with IPv4 alone is refused at once where a name leads to IPv6, and falls back', async () => {
    const vip = await resolved(mesh(), 'client', 'server', '6');
    const [dialled] = (await mesh().client('four', 'listen', vip, '7000', '5000')) as Dialled[];
    assert.deepEqual([dialled?.connected, dialled?.received], [false, '']);
    assert.notEqual(dialled?.end, 'timeout');
    const seen = await curl('four', 'http://server/');
    assert.ok((seen.remote ?? '').includes(await ipOf(mesh(), 'four', '4')));
  });

  it('a dead IPv6 address beside a live IPv4 one does not hang: it ends, or the client falls back', async () => {
    const vip = await resolved(mesh(), 'client', 'server', '4');
    const { code, stderr } = await mesh().exec(
      ...[
        'client',
        'curl',
        '-sS',
        '-m',
        String(20 * PATIENCE),
        '--resolve',
        `dead:80:${NOWHERE6},${vip}`,
        'http://dead/',
      ],
    );
    assert.notEqual(code, 28, `curl ran into its time limit: ${stderr}`);
    const [dialled] = (await mesh().client('client', 'listen', NOWHERE6, '80', '20000')) as Dialled[];
    assert.notEqual(dialled?.end, 'timeout');
    assert.equal(dialled?.received, '');
  });

  it('a pod without an IPv6 route is told so by connect(), and a client of both families goes on to IPv4 (F18)', async () => {
    const netns = mesh().netns({ kind: 'pod', namespace: 'm', name: 'redis' });
    const ip = (command: string): string =>
      execFileSync('nsenter', [`--net=${netns}`, 'sh', '-ec', `ip -6 ${command}`], { encoding: 'utf8' });
    const program = `import errno, socket
s = socket.socket(socket.AF_INET6); s.settimeout(20)
try: s.connect(("${NOWHERE6}", 80)); print("ok")
except OSError as e: print(errno.errorcode.get(e.errno, type(e).__name__))`;
    const said = async (): Promise<string> =>
      (await mesh().exec('redis', 'python3', '-c', program)).stdout.trim();
    const [route = ''] = ip('route show default').split('\n');
    assert.match(route, /^default via /);
    assert.notEqual(await said(), 'ENETUNREACH', 'the control');
    ip('route del default');
    try {
      await eventually('the agent to see it', async () => (await said()) === 'ENETUNREACH');
      const vip = await resolved(mesh(), 'redis', 'server', '4');
      const { stdout, stderr } = await mesh().exec(
        ...(['redis', 'curl', '-sS', '-o', '/dev/null', '-w', '%{http_code} %{remote_ip}'] as const),
        ...['--resolve', `both:80:${NOWHERE6},${vip}`, 'http://both/'],
      );
      assert.equal(stdout, `200 ${vip}`, stderr);
    } finally {
      ip(`route add ${route.replace(/ pref \w+$/, '')}`);
    }
    await eventually('the agent to see that it is back', async () => (await said()) !== 'ENETUNREACH');
    assert.ok((await curl('redis', '-6', 'http://server/')).remote);
  });

  it('the access log writes IPv6 in brackets, and knows both workloads', async () => {
    await curl('client', '-6', 'http://server/');
    const own = await ipOf(mesh(), 'client', '6');
    const line = mesh()
      .accessLog('node-b')
      .findLast(
        (each) => each.direction === 'inbound' && each.source === 'm/client' && each.flags === undefined,
      );
    assert.equal(line?.sourceIdentity, 'spiffe://cluster.local/ns/m/sa/client');
    const text = readFileSync(mesh().paths.logOf('ztunnel', 'node-b'), 'utf8');
    assert.ok(text.includes(`"src.addr":"[${own}]:`));
  });
});
