import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { appFile, jsonLines, Mesh } from './harness.ts';
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
interface Seen {
  readonly remote: string;
  readonly port: number;
  readonly local: string;
  readonly greeting: string;
  readonly echo: string;
}
type Family = '4' | '6';
const FAMILIES: readonly Family[] = ['4', '6'];
const PORTS = { 80: 8080, 7000: 7000, 7001: 7001 };
const DUAL = 'ipFamilyPolicy: PreferDualStack';
/** RFC 3849: nobody has it. */
const NOWHERE6 = '2001:db8::1';

/** The address that the server's greeting names as its client's, in its one form. */
function clientOf(greeting: string): string {
  const { remote } = JSON.parse(greeting.replace(/^HELLO /, '')) as Who;
  return remote.replace(/:\d+$/, '').replace(/^::ffff:/, '');
}

describe('mesh: both IP families', function () {
  this.timeout(180_000);
  let mesh: Mesh;
  before(async () => {
    const mptcp = `python3 ${appFile('mptcp-server.py')} 7100`;
    mesh = await Mesh.up({
      ...BASE,
      'server.yaml': serverManifest('server', 'node-b', { mptcp }),
      'six.yaml': serverManifest('six', 'node-b', {}, { families: 'IPv6' }),
      'four.yaml': podManifest('four', { families: 'IPv4' }),
      'services.yaml': [
        serviceManifest('server', 'server', { ...PORTS, 7100: 7100 }, DUAL),
        serviceManifest('near', 'near', PORTS, DUAL),
        serviceManifest('six', 'six', PORTS, DUAL),
        serviceManifest('single', 'server', PORTS),
        serviceManifest('only-six', 'server', PORTS, 'ipFamilies: [IPv6]'),
      ].join('---\n'),
    });
  });
  after(() => mesh.down());

  async function ipOf(pod: string, family: Family): Promise<string> {
    const ip = (await mesh.pod(pod)).ips.find((each) => each.includes(':') === (family === '6'));
    assert.ok(ip !== undefined, `${pod} has no IPv${family} address`);
    return ip;
  }
  async function resolved(pod: string, name: string, family: Family): Promise<string> {
    const { stdout } = await mesh.exec(pod, 'getent', `ahostsv${family}`, name);
    return stdout.split(/\s/)[0] ?? '';
  }
  async function curl(pod: string, ...args: string[]): Promise<Partial<Who>> {
    const { stdout, stderr } = await mesh.exec(pod, 'curl', '-sS', '-g', ...args);
    assert.notEqual(stdout, '', stderr);
    return JSON.parse(stdout) as Who;
  }
  async function sockets(
    pod: string,
    kind: string,
    family: Family,
    host: string,
    ...more: string[]
  ): Promise<Seen> {
    const { stdout, stderr } = await mesh.exec(
      pod,
      'python3',
      appFile('sockets.py'),
      kind,
      family,
      host,
      ...more,
    );
    const [seen] = jsonLines(stdout) as Seen[];
    assert.ok(seen !== undefined, stderr);
    return seen;
  }

  for (const family of FAMILIES) {
    for (const server of ['server', 'near']) {
      it(`curl -${family} to ${server}: the server sees the client's true address`, async () => {
        const seen = await curl('client', `-${family}`, `http://${server}/`);
        const remote = (seen.remote ?? '').replace(/:\d+$/, '').replace('::ffff:', '');
        assert.equal(remote, await ipOf('client', family));
        assert.ok((seen.local ?? '').includes(await ipOf(server, family)));
      });
    }

    it(`IPv${family}: getpeername and getsockname are the address dialled and the own`, async () => {
      const own = await ipOf('client', family);
      const vip = await resolved('client', 'server', family);
      assert.match(vip, family === '6' ? /^fd4c:/ : /^198\./);
      const [names] = (await mesh.client('client', 'names', vip, '80')) as Who[];
      assert.deepEqual(names, { remote: `${vip}:80`, local: own });
      const pod = await ipOf('server', family);
      const [direct] = (await mesh.client('client', 'names', pod, '8080')) as Who[];
      assert.deepEqual(direct, { remote: `${pod}:8080`, local: own });
    });

    it(`IPv${family}: a pod that dials its own Service reaches itself`, async () => {
      const { stdout, stderr } = await mesh.exec(
        ...['server', 'curl', '-sS', `-${family}`, '--data', 'to myself', 'http://server.m/'],
      );
      assert.equal(stdout, 'to myself', stderr);
    });

    for (const kind of [
      'plain',
      'mptcp',
      'fastopen',
      'fastopen-connect',
      'non-blocking',
      'device',
      'bound',
      'bound-no-port',
    ]) {
      it(`IPv${family}, ${kind}: captured, with the names that it had without a mesh`, async () => {
        const own = await ipOf('client', family);
        const vip = await resolved('client', 'server', family);
        const seen = await sockets('client', kind, family, vip, '7000', own);
        assert.deepEqual([seen.remote, seen.port, seen.local], [vip, 7000, own]);
        assert.equal(clientOf(seen.greeting), own);
        if (kind.startsWith('fastopen')) assert.equal(seen.echo, 'early');
      });
    }

    it(`IPv${family}: an MPTCP listener gets MPTCP and plain clients, with their true addresses`, async () => {
      const own = await ipOf('client', family);
      const vip = await resolved('client', 'server', family);
      for (const kind of ['mptcp', 'plain']) {
        const seen = await sockets('client', kind, family, vip, '7100');
        assert.equal(clientOf(seen.greeting), own, kind);
      }
    });
  }

  it('a client with an IPv6 socket and v4-mapped addresses is an IPv4 client', async () => {
    const own = await ipOf('client', '4');
    const vip = await resolved('client', 'server', '4');
    for (const kind of ['plain', 'mptcp']) {
      const seen = await sockets('client', kind, '6', `::ffff:${vip}`, '7000');
      assert.deepEqual([seen.remote, seen.local], [`::ffff:${vip}`, `::ffff:${own}`]);
      assert.equal(clientOf(seen.greeting), own);
    }
  });

  it('a pod with IPv6 alone is reached and reaches others, by both kinds of virtual address where it has them', async () => {
    const six = await ipOf('six', '6');
    assert.deepEqual((await mesh.pod('six')).ips, [six]);
    const into = await curl('client', '-6', 'http://six/');
    assert.ok((into.remote ?? '').includes(await ipOf('client', '6')));
    // By the IPv4 virtual address too: the tunnel crosses over, and the client is shown in the tunnel's family.
    const crossed = await curl('client', '-4', 'http://six/');
    assert.ok((crossed.remote ?? '').includes(await ipOf('client', '6')), String(crossed.remote));
    const out = await curl('six', '-6', 'http://server/');
    assert.ok((out.remote ?? '').includes(six));
    const named = await curl('six', 'http://server/');
    assert.ok((named.remote ?? '').includes(six), 'a name leads to the family that it has');
  });

  it('a Service has the families that it asks for, and no others', async () => {
    assert.match(await resolved('client', 'single', '4'), /^198\./);
    const { stdout: none } = await mesh.exec('client', 'grep', '-c', 'fd4c.* single.m.svc ', '/etc/hosts');
    assert.equal(none.trim(), '0');
    assert.match(await resolved('client', 'only-six', '6'), /^fd4c:/);
    const seen = await curl('client', 'http://only-six/');
    assert.ok((seen.remote ?? '').includes(await ipOf('client', '6')));
  });

  it('a pod with IPv4 alone is refused at once where a name leads to IPv6, and falls back', async () => {
    const vip = await resolved('client', 'server', '6');
    const [dialled] = (await mesh.client('four', 'listen', vip, '7000', '5000')) as Dialled[];
    assert.deepEqual([dialled?.connected, dialled?.received], [false, '']);
    assert.notEqual(dialled?.end, 'timeout');
    const seen = await curl('four', 'http://server/');
    assert.ok((seen.remote ?? '').includes(await ipOf('four', '4')));
  });

  it('a dead IPv6 address beside a live IPv4 one does not hang: it ends, or the client falls back', async () => {
    const vip = await resolved('client', 'server', '4');
    const { code, stderr } = await mesh.exec(
      ...['client', 'curl', '-sS', '-m', '20', '--resolve', `dead:80:${NOWHERE6},${vip}`, 'http://dead/'],
    );
    assert.notEqual(code, 28, `curl ran into its time limit: ${stderr}`);
    const [dialled] = (await mesh.client('client', 'listen', NOWHERE6, '80', '20000')) as Dialled[];
    assert.notEqual(dialled?.end, 'timeout');
    assert.equal(dialled?.received, '');
  });

  it('the access log writes IPv6 in brackets, and knows both workloads', async () => {
    await curl('client', '-6', 'http://server/');
    const own = await ipOf('client', '6');
    const line = mesh
      .accessLog('node-b')
      .findLast(
        (each) => each.direction === 'inbound' && each.source === 'm/client' && each.flags === undefined,
      );
    assert.equal(line?.sourceIdentity, 'spiffe://cluster.local/ns/m/sa/client');
    const { readFileSync } = await import('node:fs');
    const text = readFileSync(mesh.paths.logOf('ztunnel', 'node-b'), 'utf8');
    assert.ok(text.includes(`"src.addr":"[${own}]:`));
  });
});
