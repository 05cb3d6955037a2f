import assert from 'node:assert/strict';
import { execFileSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { ask } from '../../cli/local/http.ts';
import { netnsName } from '../../cli/local/names.ts';
import { ZTUNNEL_ADMIN_PORT } from '../../cli/local/programs.ts';
import { appFile, eventually, Mesh, type CommandResult } from '../mesh/harness.ts';
import { BASE, serverManifest, serviceManifest } from '../mesh/manifests.ts';

const FLOODS = 7010;
const MUTE = 7011;
/** What kernels, ztunnels and HTTP/2 windows hold of one stream that nobody reads; by measurement some 15 MB. */
const MOST_HELD = 64 << 20;
const STANDS_STILL_MS = 1_500;
/** Shorter than the time after which peers give each other up; the soak has longer ones too. */
const STOPPED_MS = 2_000;

type Line = Readonly<Record<string, unknown>>;

/** The lines of a process as objects, newest last. */
function linesOf(child: ChildProcess): Line[] {
  const lines: Line[] = [];
  if (child.stdout === null) throw new Error('no output');
  createInterface({ input: child.stdout }).on('line', (line) =>
    lines.push(line.startsWith('{') ? (JSON.parse(line) as Line) : { line }),
  );
  return lines;
}

describe('mesh: peers and pods that fail', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  let toDead: Promise<CommandResult>[];

  before(async () => {
    mesh = await Mesh.up({
      ...BASE,
      'bad.yaml': serverManifest('bad', 'node-b'),
      'bad-service.yaml': serviceManifest('bad', 'bad', { [FLOODS]: FLOODS, [MUTE]: MUTE, 7001: 7001 }),
      'old.yaml': serverManifest('old', 'node-b'),
      'dead.yaml': serverManifest('dead', 'node-b'),
      'dead-outside.yaml': serverManifest(
        'dead-outside',
        'node-b',
        {},
        {
          labels: { 'loam.dev/dataplane-mode': 'none' },
        },
      ),
      'dead-services.yaml': [
        serviceManifest('dead', 'dead', { 80: 8080 }),
        serviceManifest('dead-outside', 'dead-outside', { 80: 8080 }),
      ].join('---\n'),
    });
    // Ten seconds pass until such a connection is given up: the other tests have them.
    for (const name of ['dead', 'dead-outside']) await loseSynsTo(name);
    toDead = ['dead', 'dead-outside'].map((host) =>
      mesh.exec('client', 'curl', '-sS', '--ipv4', '--max-time', '40', `http://${host}/`),
    );
  });
  after(() => mesh.down());

  /** As when a machine vanished: what is sent to the pod goes to no interface. */
  async function loseSynsTo(name: string): Promise<void> {
    const netns = basename(mesh.netns({ kind: 'node', node: 'node-b' }));
    for (const ip of (await mesh.pod(name)).ips) {
      const family = ip.includes(':') ? '-6' : '-4';
      const route = execFileSync('ip', ['-n', netns, family, 'route', 'get', ip], { encoding: 'utf8' });
      const device = /dev (\S+)/.exec(route)?.[1];
      assert.ok(device !== undefined, route);
      execFileSync('ip', [
        ...['-n', netns, family, 'neigh', 'replace', ip, 'lladdr', '02:00:00:00:00:99'],
        ...['dev', device, 'nud', 'permanent'],
      ]);
    }
  }

  const echo = (from: string, host: string, body: string): Promise<CommandResult> =>
    mesh.exec(from, 'curl', '-sS', '--max-time', '30', '--data-binary', body, `http://${host}/`);

  async function connectionsAt(node: string): Promise<string[]> {
    const admin = { netns: netnsName(mesh.name, { kind: 'node', node }), port: ZTUNNEL_ADMIN_PORT };
    const { connections } = JSON.parse((await ask(admin, '/connections')).body) as {
      connections: { direction: string; destination: { workload?: string; address: string } }[];
    };
    return connections.map(
      ({ direction, destination }) => `${direction} ${destination.workload ?? destination.address}`,
    );
  }

  /** Waits until a flood takes no more. @returns how much it took */
  async function stalled(lines: readonly Line[]): Promise<number> {
    const taken = (): number => Number(lines.findLast((line) => 'taken' in line)?.['taken'] ?? 0);
    let before = -1;
    let since = Date.now();
    await eventually('the flood to stand still', () => {
      if (taken() !== before) [before, since] = [taken(), Date.now()];
      return before > 0 && Date.now() - since > STANDS_STILL_MS;
    });
    return before;
  }

  /** As much as two windows of a connection, through the tunnel in which a stream stands still. */
  async function othersGoOn(): Promise<void> {
    const { stdout } = await mesh.exec(
      'client',
      'bash',
      '-c',
      "head -c 33554432 /dev/zero | tr '\\0' 'y' | nc -N bad 7001",
    );
    assert.match(stdout, /^33554432 [0-9a-f]{64}\n$/);
  }

  async function run(pod: string, ...args: string[]): Promise<{ end(): Promise<unknown>; lines: Line[] }> {
    const child = await mesh.spawn(pod, 'node', appFile('fault-peer.mjs'), ...args);
    const lines = linesOf(child);
    // From the beginning on: it may end by itself.
    const ended = once(child, 'close');
    return {
      lines,
      end: () => {
        child.kill();
        return ended;
      },
    };
  }

  it('a client that never reads stops the server soon, and hurts no other connection of its tunnel', async () => {
    const server = await run('bad', 'server', String(FLOODS), String(MUTE));
    await eventually('the server to listen', () => server.lines.length > 0);
    const client = await run('client', 'mute', 'bad', String(FLOODS));
    const taken = await stalled(server.lines);
    assert.ok(taken < MOST_HELD, `${taken} bytes are held for it`);
    await othersGoOn();
    await client.end();
    await eventually('the server to hear of its end', () =>
      server.lines.some(({ flood }) => flood === 'closed'),
    );
    await server.end();
  });

  it('a server that never reads stops the client soon, and hurts no other connection of its tunnel', async () => {
    const server = await run('bad', 'server', String(FLOODS), String(MUTE));
    await eventually('the server to listen', () => server.lines.length > 0);
    const client = await run('client', 'flood', 'bad', String(MUTE));
    const taken = await stalled(client.lines);
    assert.ok(taken < MOST_HELD, `${taken} bytes are held for it`);
    await othersGoOn();
    // It dies with bytes unread, which is a reset.
    await server.end();
    await eventually('the client to hear of its end', () =>
      client.lines.some(({ flood }) => flood === 'closed'),
    );
    await client.end();
  });

  it('a pod that is deleted ends its connections both ways, and who gets its address is somebody else', async () => {
    const { ips } = await mesh.pod('old');
    const address = ips.find((ip) => !ip.includes(':'));
    assert.ok(address !== undefined);
    const [into, out] = [
      await mesh.spawn('client', 'node', appFile('client.mjs'), 'hold', address, '7000'),
      await mesh.spawn('old', 'node', appFile('client.mjs'), 'hold', 'near', '7000'),
    ];
    const [intoLines, outLines] = [linesOf(into), linesOf(out)];
    await eventually('both connections', () => intoLines.length > 0 && outLines.length > 0);

    mesh.remove('old.yaml');
    await eventually('the pod to be gone', () =>
      mesh.pod('old').then(
        () => false,
        () => true,
      ),
    );
    mesh.write('young.yaml', serverManifest('young', 'node-b', {}, { address }));
    await eventually('the client to hear of it', () => intoLines.some(({ line }) => line === '"closed"'));
    const young = await eventually('another pod with the address', async () => {
      const pod = await mesh.pod('young').catch(() => undefined);
      return pod?.ready === true && pod;
    });
    assert.deepEqual(young.ips, ips);
    const { stdout, stderr } = await eventually('the address to answer again', async () => {
      const answer = await echo('client', `${address}:8080`, 'who is there');
      return answer.code === 0 && answer;
    });
    assert.equal(stdout, 'who is there', stderr);
    const told = await eventually('a line of it', () =>
      mesh.accessLog('node-a').findLast((line) => line.destination === 'm/young'),
    );
    // Not the tunnel of the former: its peer proved another identity.
    assert.equal(told.destinationIdentity, 'spiffe://cluster.local/ns/m/sa/young');
    await eventually('nothing to be left of the former pod', async () => {
      const all = [...(await connectionsAt('node-a')), ...(await connectionsAt('node-b'))];
      return all.every((line) => !line.endsWith(' old') && !line.endsWith(' near'));
    });
  });

  it('a ztunnel that stands still for a while cuts nothing, and those who dial meanwhile wait', async () => {
    const held = await mesh.spawn('client', 'node', appFile('client.mjs'), 'hold', 'server', '7000');
    const lines = linesOf(held);
    const ended = once(held, 'close');
    await eventually('the connection', () => lines.length > 0);
    for (const node of ['node-a', 'node-b']) {
      const { pid } = await mesh.program('ztunnel', node);
      process.kill(pid, 'SIGSTOP');
      const dialled = echo('client', 'server', 'dialled meanwhile');
      await sleep(STOPPED_MS);
      process.kill(pid, 'SIGCONT');
      const { stdout, stderr } = await dialled;
      assert.equal(stdout, 'dialled meanwhile', stderr);
    }
    assert.deepEqual(lines, [{ line: '"open"' }], 'it lives on');
    held.kill();
    await ended;
  });

  it('an address from which nothing comes back is given up with a reason, and by then hurt nobody else', async () => {
    const [dead, outside] = await Promise.all(toDead);
    for (const result of [dead, outside])
      assert.ok(
        result?.code === 56 || result?.code === 52,
        `reset, not a good end: ${JSON.stringify(result)}`,
      );
    const flagOf = (pod: string): Promise<string> =>
      eventually(`a line of ${pod}`, () => {
        const line = mesh
          .accessLog('node-a')
          .find(({ destination, error }) => destination === `m/${pod}` && error);
        return line === undefined ? undefined : `${line.flags}: ${line.error}`;
      });
    assert.match(await flagOf('dead'), /^NETWORK_POLICY: .*a NetworkPolicy may be blocking HBONE port 15008/);
    assert.match(await flagOf('dead-outside'), /^CONNECT: /);
  });
});
