import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import ipaddr from 'ipaddr.js';
import { packageRoot } from '../../lib/package-root.ts';
import { jsonLines, Mesh } from '../mesh/harness.ts';
import { namespaceManifest, podManifest, serviceManifest } from '../mesh/manifests.ts';
import { ipOf, resolved } from '../mesh/plain/names.ts';
import { buildGoProgram } from '../support/go-program.ts';

interface Seen {
  readonly remote: string;
  readonly local: string;
  readonly mptcp?: boolean;
  readonly greeting: Omit<Seen, 'greeting'>;
}
type JavaSeen = Seen & { readonly kind: string; readonly host: string; readonly port: number };

const NAME = 'programs';
const GO = 7300;
const JAVA = 7400;
const GREETER = join(packageRoot(), 'test', 'interop', 'app', 'Greeter.java');
const JAVA_KINDS = ['Socket', 'SocketChannel', 'AsynchronousSocketChannel'];
/** Java writes IPv6 addresses in full. */
const canonical = (ip: string): string => ipaddr.process(ip).toString();

describe('mesh: programs in Go and Java', function () {
  this.timeout(180_000);
  let mesh: Mesh;
  let go: string;
  before(async () => {
    go = buildGoProgram('go-greeter', 'loam.test/go-greeter');
    mesh = await Mesh.up({
      'namespace.yaml': namespaceManifest(),
      'client.yaml': podManifest('client'),
      'server.yaml': podManifest('server', {
        node: 'node-b',
        commands: { go: `${go} serve ${GO}`, java: `java ${GREETER} serve ${JAVA}` },
        ports: [GO, JAVA],
      }),
      'service.yaml': serviceManifest(
        NAME,
        'server',
        { [GO]: GO, [JAVA]: JAVA },
        'ipFamilyPolicy: RequireDualStack',
      ),
    });
  });
  after(() => mesh?.down());

  async function dialled(pod: string, ...command: [string, ...string[]]): Promise<Seen[]> {
    const { stdout, stderr } = await mesh.exec(pod, ...command);
    assert.notEqual(stdout, '', stderr);
    return jsonLines(stdout) as Seen[];
  }
  const dialGo = async (pod: string, host: string, port: number, ...more: string[]): Promise<Seen> => {
    const [seen] = await dialled(pod, go, 'dial', host, String(port), ...more);
    assert.ok(seen);
    return seen;
  };
  /** Asserts that both ends see each other as without a mesh. */
  function assertNames(seen: Seen, remote: string, own: string): void {
    assert.deepEqual([seen.remote, seen.local].map(canonical), [remote, own]);
    assert.equal(canonical(seen.greeting.remote), own);
  }

  it('the server in Go listens with MPTCP: the control', async () => {
    const seen = await dialGo('server', '127.0.0.1', GO, 'mptcp');
    assert.deepEqual([seen.mptcp, seen.greeting.mptcp], [true, true]);
  });

  for (const family of ['4', '6'] as const) {
    it(`IPv${family}: Go reaches Go's MPTCP listener, by TCP and by MPTCP, and Java's`, async () => {
      const vip = await resolved(mesh, 'client', NAME, family);
      const own = await ipOf(mesh, 'client', family);
      assertNames(await dialGo('client', vip, GO), vip, own);
      assertNames(await dialGo('client', vip, GO, 'mptcp'), vip, own);
      assertNames(await dialGo('client', vip, JAVA), vip, own);
      const pod = await ipOf(mesh, 'server', family);
      assertNames(await dialGo('client', pod, GO, 'mptcp'), pod, own);
    });

    it(`IPv${family}: a pod's programs in Go reach themselves through their Service`, async () => {
      const vip = await resolved(mesh, 'client', NAME, family);
      const own = await ipOf(mesh, 'server', family);
      assertNames(await dialGo('server', vip, GO, 'mptcp'), vip, own);
    });
  }

  it('Java reaches both, by every kind of its sockets, over IPv4 through its IPv6 sockets and over IPv6, and by name', async () => {
    const hosts = new Map<string, string>();
    for (const family of ['4', '6'] as const)
      hosts.set(await resolved(mesh, 'client', NAME, family), await ipOf(mesh, 'client', family));
    const pairs = [...hosts.keys(), NAME].flatMap((host) => [JAVA, GO].map((port) => [host, String(port)]));
    const seen = (await dialled('client', 'java', GREETER, 'dial', ...pairs.flat())) as JavaSeen[];
    assert.deepEqual(
      seen.map(({ port, kind }) => `${port} ${kind}`),
      pairs.flatMap(([, port]) => JAVA_KINDS.map((kind) => `${port} ${kind}`)),
    );
    for (const each of seen) {
      const remote = canonical(each.host === NAME ? each.remote : each.host);
      assertNames(each, remote, hosts.get(remote) ?? '');
    }
  });

  it('a name leads Go to a family that works', async () => {
    const seen = await dialGo('client', NAME, GO);
    assert.ok((await mesh.pod('client')).ips.includes(canonical(seen.greeting.remote)));
  });
});
