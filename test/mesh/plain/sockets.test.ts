import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { after, before, describe, it } from 'mocha';
import { run } from '../../bpf/support/lab.ts';
import { appFile, eventually, finished, jsonLines, type Mesh } from '../harness.ts';
import { clientOf, FAMILIES, type Family, lateManifest, MPTCP_PORT, plainMesh } from './mesh.ts';
import { ipOf, resolved } from './names.ts';

type Seen = { readonly kind: string } & (
  | { readonly error: string; readonly code: number | null }
  | {
      readonly error?: undefined;
      readonly remote: string;
      readonly port: number;
      readonly local: string;
      readonly greeting: string;
      readonly echo: string;
    }
);

const KINDS = [
  'plain',
  'mptcp',
  'fastopen',
  'fastopen-connect',
  'non-blocking',
  'device-eth0',
  'bound',
  'bound-no-port',
  'io_uring',
  'sqpoll',
  'passed',
];
const ENETUNREACH = 101;
/** Of a second interface: in namespaces of the mesh alone, and in none of its subnets. */
const SECOND = { 4: '198.19.255.241', 6: 'fd00:77::1' };

/** The arguments of app/sockets.py. */
interface Dial {
  readonly family: Family;
  readonly host: string;
  readonly port?: number;
  readonly source?: string;
  readonly kinds: readonly string[];
}

function start(mesh: Mesh, pod: string, dial: Dial): Promise<ChildProcess> {
  const { family, host, port = 7000, source = '-', kinds } = dial;
  const args = [family, host, String(port), source, ...kinds];
  return mesh.spawn(pod, 'python3', appFile('sockets.py'), ...args);
}

/** Dials in each manner, in one process. @returns what came of each, by manner */
async function dialled(process: ChildProcess, input?: string): Promise<Map<string, Seen>> {
  const { stdout, stderr } = await finished(process, input);
  const lines = jsonLines(stdout) as Seen[];
  assert.notEqual(lines.length, 0, stderr);
  return new Map(lines.map((line) => [line.kind, line]));
}

/** Asserts that it was captured, and looks as without a mesh. */
function assertCaptured(seen: Seen | undefined, remote: string, local: string, client = local): void {
  assert.ok(seen !== undefined && seen.error === undefined, JSON.stringify(seen));
  assert.deepEqual([seen.remote, seen.local], [remote, local]);
  assert.equal(clientOf(seen.greeting), client.replace('::ffff:', ''));
  if (seen.kind.startsWith('fastopen')) assert.equal(seen.echo, 'early');
}

describe('mesh: every kind of socket', function () {
  this.timeout(180_000);
  const mesh = plainMesh.use();

  /** What an application has, and how the server sees it, by the form of its address. */
  const forms: readonly (readonly [string, Family, (ip: string) => string, Family])[] = [
    ['IPv4', '4', (ip) => ip, '4'],
    ['IPv6', '6', (ip) => ip, '6'],
    ['IPv4 through an IPv6 socket', '6', (ip) => `::ffff:${ip}`, '4'],
  ];
  for (const [form, family, written, true_] of forms) {
    describe(form, () => {
      let own: string;
      let vip: string;
      let seen: Map<string, Seen>;
      before(async () => {
        own = written(await ipOf(mesh(), 'client', true_));
        vip = written(await resolved(mesh(), 'client', 'server', true_));
        seen = await dialled(await start(mesh(), 'client', { family, host: vip, source: own, kinds: KINDS }));
      });

      for (const kind of KINDS)
        it(`${kind}: is captured, with the names that it had without a mesh`, () =>
          assertCaptured(seen.get(kind), vip, own));

      it('MPTCP and plain clients come to an MPTCP listener, with their true addresses', async () => {
        const dial = { family, host: vip, port: MPTCP_PORT, kinds: ['mptcp', 'plain', 'fastopen'] };
        const seen = await dialled(await start(mesh(), 'client', dial));
        for (const kind of ['mptcp', 'plain']) assertCaptured(seen.get(kind), vip, own);
      });

      it('a pod that dials its own Service, or its own address, reaches itself, and sees itself come', async () => {
        const self = written(await ipOf(mesh(), 'server', true_));
        const kinds = ['plain', 'mptcp', 'bound'];
        for (const host of [vip, self]) {
          const dial = { family, host, source: self, kinds };
          const seen = await dialled(await start(mesh(), 'server', dial));
          for (const kind of kinds) assertCaptured(seen.get(kind), host, self);
        }
      });
    });
  }

  describe('of a pod that comes into the mesh later, and has a second interface', () => {
    const EARLY = ['wait', 'plain', 'mptcp', 'bound', 'device-eth0'];
    const waiting = new Map<Family, ChildProcess>();
    const vips = new Map<Family, string>();
    let before_: number;

    before(async () => {
      for (const family of FAMILIES) {
        const vip = await resolved(mesh(), 'client', 'server', family);
        const source = await ipOf(mesh(), 'late', family);
        const child = await start(mesh(), 'late', { family, host: vip, source, kinds: EARLY });
        vips.set(family, vip);
        waiting.set(family, child);
        await new Promise((resolve, reject) => {
          child.stdout?.once('data', resolve);
          child.once('close', (code) => reject(new Error(`no sockets were made: exit code ${code}`)));
        });
      }
      before_ = inbound().length;
      assert.equal(await enrolled(), false);
      mesh().write('late.yaml', lateManifest('ambient'));
      await eventually('the pod to be enrolled', enrolled);
      // A second network of the pod, which the mesh knows nothing of.
      const node = mesh().netns({ kind: 'node', node: 'node-a' });
      const pod = mesh().netns({ kind: 'pod', namespace: 'm', name: 'late' });
      run(`nsenter --net=${node} ip link add second type veth peer name eth1 netns ${pod}
        nsenter --net=${pod} ip addr add ${SECOND[4]}/28 dev eth1
        nsenter --net=${pod} ip addr add ${SECOND[6]}/64 dev eth1 nodad
        nsenter --net=${pod} ip link set eth1 up
        nsenter --net=${node} ip link set second up`);
    });
    after(async () => {
      for (const child of waiting.values()) child.kill();
      mesh().write('late.yaml', lateManifest('none'));
      await eventually('the pod to have left the mesh', async () => !(await enrolled()));
    });

    const enrolled = async (): Promise<boolean> => {
      const { enrolled, report } = await mesh().status();
      const uid = report.pods.find(({ name }) => name === 'late')?.uid ?? '';
      return enrolled[uid]?.verified === true;
    };
    const inbound = () =>
      mesh()
        .accessLog('node-b')
        .filter((line) => line.direction === 'inbound' && line.source === 'm/late');

    for (const family of FAMILIES) {
      it(`IPv${family}: sockets that were made, and bound, before it came are captured`, async () => {
        const own = await ipOf(mesh(), 'late', family);
        const vip = vips.get(family) ?? '';
        const child = waiting.get(family);
        assert.ok(child);
        const seen = await dialled(child, '\n');
        for (const kind of EARLY.slice(1)) assertCaptured(seen.get(kind), vip, own);
      });

      it(`IPv${family}: from an address of the second interface it is captured, and is the pod's own connection`, async () => {
        const own = await ipOf(mesh(), 'late', family);
        const vip = vips.get(family) ?? '';
        const kinds = ['bound', 'bound-no-port', 'device-eth1'];
        const dial = { family, host: vip, source: SECOND[family], kinds };
        const seen = await dialled(await start(mesh(), 'late', dial));
        for (const kind of ['bound', 'bound-no-port'])
          assertCaptured(seen.get(kind), vip, SECOND[family], own);
        const refused = seen.get('device-eth1');
        assert.equal(refused?.error !== undefined && refused.code, ENETUNREACH, JSON.stringify(refused));
      });
    }

    it('all of them by mutual TLS', async () => {
      const mine = await eventually('all of them in the log', () => {
        const lines = inbound().slice(before_);
        return lines.length >= 2 * (EARLY.length - 1 + 2) && lines;
      });
      for (const line of mine) assert.equal(line.sourceIdentity, 'spiffe://cluster.local/ns/m/sa/late');
    });
  });
});
