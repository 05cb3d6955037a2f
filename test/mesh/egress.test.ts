import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { after, afterEach, before, describe, it } from 'mocha';
import { meshEnvironment } from '../../cli/local/programs.ts';
import { inSandbox } from '../../cli/local/sandbox.ts';
import { appFile, type CommandResult, eventually, finished, Mesh } from './harness.ts';
import {
  BASE,
  gatewayManifest,
  namespaceManifest,
  podManifest,
  serverManifest,
  serviceManifest,
} from './manifests.ts';
import { resolved } from './plain/names.ts';
import { wayServer, wayService } from './waypoint-manifests.ts';

const FILE = 'egress.yaml';
const POLICY = 'm/client-egress';
const OPEN_NAMESPACE = namespaceManifest('ambient', { 'loam.dev/outbound-traffic-policy': 'allow-any' });
/** ztunnel's own, on every address of its node: what stands for any server outside of the mesh. */
const HOST_PORT = 15020;
/** curl's words for a reset, whenever it comes: no connection, no answer, cannot send, cannot receive. */
const RESETS: readonly (number | null)[] = [7, 52, 55, 56];

function policy(allow: string): string {
  return `
apiVersion: loam.dev/v1
kind: EgressPolicy
metadata: {name: client-egress, namespace: m}
spec:
  selector: {matchLabels: {app: client}}
  allow: ${allow}
`;
}

function settings(outbound: string): string {
  return `{apiVersion: loam.dev/v1, kind: MeshSettings, metadata: {name: mesh}, spec: {outboundTrafficPolicy: ${outbound}}}\n`;
}

describe('mesh: rules at the source', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  /** Where a name or a kind of address leads to. */
  const hosts = new Map<string, string>();
  /** Of the pods that dial: asked once, and not of a controller that is stopped. */
  const pids = new Map<string, number>();
  const children: ChildProcess[] = [];

  before(async () => {
    mesh = await Mesh.up({
      ...BASE,
      'foreign.yaml': serverManifest('foreign', 'node-b').replace(
        'app: foreign',
        'app: foreign\n    loam.dev/dataplane-mode: none',
      ),
      'bare.yaml': podManifest('bare', { node: 'node-b' }),
      'gateway.yaml': gatewayManifest('way'),
      'way.yaml': wayServer('behind', { tier: 'way' }, 'node-a'),
      'way-services.yaml': ['behind', 'other-behind']
        .map((name) => wayService(name, { waypoint: 'way', selector: { tier: 'way' }, ports: { 80: 8080 } }))
        .join('---\n'),
      'dual.yaml': serviceManifest(
        'dual',
        'server',
        { 80: 8080, 7000: 7000 },
        'ipFamilyPolicy: RequireDualStack',
      ),
      [FILE]: policy('[{services: [{name: server}]}]'),
    });
    for (const name of ['server', 'near', 'foreign', 'behind']) {
      const [ip4 = '', ip6 = ''] = (await mesh.pod(name)).ips;
      hosts.set(`pod ${name}`, ip4);
      hosts.set(`pod6 ${name}`, `[${ip6}]`);
      hosts.set(`mapped ${name}`, `[::ffff:${ip4}]`);
    }
    for (const name of ['client', 'other']) pids.set(name, (await mesh.pod(name)).initPid ?? 0);
    const { stdout } = await mesh.exec('client', 'sh', '-c', "ip -4 route show default | awk '{print $3}'");
    hosts.set('host', stdout.trim());
    assert.match(stdout, /^[0-9.]+\n$/, 'the pod has a way to its host');
    const routes = await mesh.exec('client', 'ip', '-6', 'route', 'show', 'default');
    const [, host6] = /via (\S+)/.exec(routes.stdout) ?? [];
    assert.ok(host6 !== undefined, routes.stdout);
    hosts.set('host6', `[${host6}]`);
    hosts.set('dual4', await resolved(mesh, 'client', 'dual', '4'));
    hosts.set('dual6', `[${await resolved(mesh, 'client', 'dual', '6')}]`);
  });
  after(() => mesh.down());
  afterEach(() => {
    for (const child of children.splice(0)) child.kill();
  });

  /** Whether a server answers. A Service is meant by its port 80, unless another one is said. */
  async function reaches(pod: string, what: string): Promise<boolean> {
    return (await dial(pod, what)).code === 0;
  }

  /** Whether the connection is reset, and not merely left without an answer. */
  async function isRefused(pod: string, what: string): Promise<boolean> {
    return RESETS.includes((await dial(pod, what)).code);
  }

  function dial(pod: string, what: string): Promise<CommandResult> {
    const [name = '', port = /^\w+ /.test(name) ? '8080' : '80'] = what.split(':');
    const url = `http://${hosts.get(name) ?? name}:${port}/`;
    const command = ['curl', '-sS', '-g', '-o', '/dev/null', '--max-time', '30', url] as const;
    const [file, ...args] = inSandbox(pids.get(pod) ?? 0, 'TERM', mesh.dir, command);
    return finished(spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env: meshEnvironment('test') }));
  }

  /** Puts the policy into force, and shows what the client then reaches and what not. */
  async function check(allow: string, yes: readonly string[], no: readonly string[]): Promise<void> {
    mesh.write(FILE, policy(allow));
    for (const what of yes) await eventually(`the client to reach ${what}`, () => reaches('client', what));
    for (const what of no)
      await eventually(`the client to be refused ${what}`, () => isRefused('client', what));
    // What was reached before the edit came into force shows here.
    assert.deepEqual(
      await Promise.all(yes.map((what) => reaches('client', what))),
      yes.map(() => true),
    );
  }

  const lineOf = (flag: string, source: string, error: RegExp) =>
    eventually(`${flag} of ${source} in the log`, () =>
      mesh
        .accessLog('node-a')
        .findLast(
          (line) =>
            line.direction === 'outbound' &&
            line.source === source &&
            line.flags === flag &&
            error.test(line.error ?? ''),
        ),
    );

  it('lets a Service through that a policy names, and nothing else, and says why on its own node', async () => {
    assert(await reaches('client', 'server'));
    assert(await isRefused('client', 'near'));
    assert(await reaches('other', 'near'), 'others are not restricted');
    const line = await lineOf('EGRESS', 'm/client', /no rule allows Service m\/near port 80/);
    assert.deepEqual([line.policy, line.service], [POLICY, 'near.m.svc.cluster.local']);
    assert.equal(line.destinationIdentity, undefined, 'nobody proved anything');
    assert(
      !mesh.accessLog('node-a').some((each) => each.direction === 'inbound' && each.source === 'm/client'),
      'it never came there',
    );
    const metrics = await eventually('the denial in the metrics', async () => {
      const text = await mesh.metrics('node-a');
      return text.includes('loam_egress_refused_total{') && text;
    });
    assert.match(
      metrics,
      new RegExp(`loam_egress_refused_total\\{reason="policy",policy="${POLICY}"\\} [1-9]`),
    );
    assert.match(
      metrics,
      /istio_tcp_connections_failed_total\{reporter="source",source_workload="client".*response_flags="EGRESS"/,
    );
  });

  it('refuses what is outside of the mesh: a pod, and the address of the host', async () => {
    assert(
      (await reaches('other', 'pod foreign')) && (await reaches('other', `host:${HOST_PORT}`)),
      'they are there',
    );
    for (const what of ['pod foreign', `host:${HOST_PORT}`]) assert(await isRefused('client', what), what);
    await lineOf('EGRESS', 'm/client', /no rule allows pod m\/foreign port 8080 by its address/);
    await lineOf('EGRESS', 'm/client', new RegExp(`no rule allows ${hosts.get('host')}:${HOST_PORT}`));
  });

  it('says in the status whom it selects, and that their node enforces it', async () => {
    const found = (await mesh.status()).controller?.objects.find(({ kind }) => kind === 'EgressPolicy');
    assert.equal(found?.state, 'accepted');
    assert.match(found.message ?? '', /selects m\/client; allows by 1 rule/);
    assert.deepEqual(
      found.conditions?.map(({ type, status }) => [type, status]),
      [
        ['Accepted', 'True'],
        ['Enforced', 'True'],
      ],
    );
  });

  it('allows a port of a Service, and by a Service none of its pods', () =>
    check(
      '[{services: [{name: server}], ports: [{port: 79, endPort: 81}]}]',
      ['server'],
      ['server:7000', 'pod server', 'near'],
    ));

  it('allows a Service by each of its virtual addresses, and by none its pods', () =>
    check(
      '[{services: [{name: dual}], ports: [{port: 80}]}]',
      ['dual4', 'dual6'],
      ['dual6:7000', 'pod6 server', 'pod server', 'server'],
    ));

  it('allows by account, through Services and by address, but nobody who proves nothing', () =>
    check('[{serviceAccounts: [near, foreign]}]', ['near', 'pod near'], ['server', 'pod foreign']));

  it('allows by principal', () =>
    check('[{principals: ["*/sa/server"]}]', ['server', 'pod server'], ['near', `host:${HOST_PORT}`]));

  it('allows by namespace, also what is not in the mesh there', () =>
    check('[{namespaces: [m]}]', ['server', 'near', 'pod foreign'], [`host:${HOST_PORT}`]));

  it('allows by address, without the parts that are taken out', () => {
    const [host, foreign] = [hosts.get('host'), hosts.get('pod foreign')];
    const all = `{cidr: 0.0.0.0/0, except: [${foreign}]}`;
    return check(
      `[{cidrs: [{cidr: ${host}}]}, {cidrs: [${all}], ports: [{port: 8080}]}]`,
      [`host:${HOST_PORT}`, 'pod near'],
      ['pod foreign', 'server'],
    );
  });

  it('allows by IPv6 address, without the parts that are taken out, and says so of what it refuses', async () => {
    const bare = (what: string): string => (hosts.get(what) ?? '').replace(/[[\]]/g, '');
    const all = `{cidr: "::/0", except: [${bare('pod6 foreign')}]}`;
    await check(
      `[{cidrs: [{cidr: "${bare('host6')}/128"}]}, {cidrs: [${all}], ports: [{port: 8080}]}]`,
      [`host6:${HOST_PORT}`, 'pod6 near', 'pod6 server'],
      ['pod6 foreign', 'pod6 server:7000', 'pod near', 'mapped near', 'server'],
    );
    await lineOf('EGRESS', 'm/client', /no rule allows pod m\/foreign port 8080 by its address/);
  });

  it('means IPv4 by an IPv4 block, in whichever form it is dialled, and an identity by any address', async () => {
    await check(
      '[{cidrs: [{cidr: 0.0.0.0/0}]}]',
      ['pod near', 'mapped near'],
      ['pod6 near', `host6:${HOST_PORT}`],
    );
    const refused = `no rule allows ${hosts.get('host6')}:${HOST_PORT}`.replace(/[[\]]/g, '\\$&');
    await lineOf('EGRESS', 'm/client', new RegExp(refused));
    await check(
      '[{serviceAccounts: [near]}]',
      ['pod near', 'pod6 near', 'mapped near'],
      ['pod6 server', 'mapped server', `host6:${HOST_PORT}`],
    );
  });

  it('allows by port alone', () =>
    check('[{ports: [{port: 80}]}]', ['server', 'near'], ['server:7000', 'pod server']));

  it('judges by the Service that is dialled where a waypoint stands between', () =>
    check('[{services: [{name: behind}]}]', ['behind'], ['other-behind', 'pod behind']));

  it('allows what any of several policies allows, and nothing where one stands alone without rules', async () => {
    mesh.write('second.yaml', policy('[{services: [{name: near}]}]').replace('client-egress', 'second'));
    await check('[]', ['near'], ['server']);
    mesh.remove('second.yaml');
    await check('[]', [], ['near', 'server', 'behind']);
  });

  it('cuts live connections that a change forbids, counts them, and leaves the others', async () => {
    await check('[{services: [{name: server}]}]', ['server'], []);
    const held = async (pod: string) => {
      const child = await mesh.spawn(pod, 'node', appFile('client.mjs'), 'hold', 'server', '7000');
      children.push(child);
      const state = { said: '' };
      child.stdout?.on('data', (chunk: Buffer) => (state.said += chunk.toString()));
      return state;
    };
    const mine = await Promise.all(Array.from({ length: 4 }, () => held('client')));
    const others = await held('other');
    const load = await mesh.spawn('client', 'node', appFile('client.mjs'), 'load', 'server', '7000', 'x');
    children.push(load);
    await eventually('all to be open', () => [...mine, others].every(({ said }) => said.includes('"open"')));
    mesh.write(FILE, policy('[{services: [{name: near}]}]'));
    await eventually('all to be cut', () => mine.every(({ said }) => said.includes('"closed"')));
    assert(!others.said.includes('"closed"'), 'whom no policy selects goes on');
    const line = await lineOf('EGRESS', 'm/client', /^closed due to policy change/);
    assert.equal(line.policy, POLICY);
    await eventually('all of them to be counted', async () => {
      const metrics = await mesh.metrics('node-a');
      const [, count] =
        /refused_total\{reason="changed",policy="m\/client-egress"\} (\d+)/.exec(metrics) ?? [];
      return Number(count) >= mine.length;
    });
  });

  it('keeps the last good state of a policy that an edit breaks, and says so', async () => {
    await check('[{services: [{name: server}]}]', ['server'], ['near']);
    mesh.write(FILE, policy('[{service: [{name: near}]}]'));
    const object = await eventually('the rejection', async () =>
      (await mesh.status()).controller?.objects.find(
        ({ name, state }) => name === 'client-egress' && state === 'rejected',
      ),
    );
    assert.deepEqual([object.field, object.lastGood], ['spec.allow[0].service', true]);
    assert(await reaches('client', 'server'));
    assert(await isRefused('client', 'near'));
  });

  it('puts one that allows nothing in the place of a new policy that is broken', async () => {
    const broken = policy('[{}]').replace('client-egress', 'broken').replace('app: client', 'app: other');
    mesh.write('broken.yaml', broken);
    await eventually('the other to be refused', () => isRefused('other', 'server'));
    mesh.remove('broken.yaml');
    await eventually('the other to be let out again', () => reaches('other', 'server'));
  });

  it('enforces what it knows while the controller is away, also across the death of a ztunnel', async () => {
    await check('[{services: [{name: server}]}]', ['server'], ['near']);
    const controller = await mesh.program('controller');
    const ztunnel = await mesh.program('ztunnel', 'node-a');
    process.kill(controller.pid, 'SIGSTOP');
    try {
      assert(await reaches('client', 'server'));
      assert(await isRefused('client', 'near'));
      await mesh.stateHeld('node-a');
      process.kill(ztunnel.pid, 'SIGKILL');
      // The next one goes by what this one left with the agent.
      assert(await reaches('client', 'server'));
      assert(await isRefused('client', 'near'));
      assert(await reaches('other', 'near'));
    } finally {
      process.kill(controller.pid, 'SIGCONT');
    }
    await eventually('the client to reach the server again', () => reaches('client', 'server'));
    assert(await isRefused('client', 'near'));
    assert(await reaches('other', 'near'));
  });

  it('refuses what the mesh does not know with REGISTRY_ONLY, with a reason of its own, but for a namespace that says otherwise', async () => {
    mesh.write('settings.yaml', settings('REGISTRY_ONLY'));
    await eventually('the host to be refused', () => isRefused('other', `host:${HOST_PORT}`));
    assert(await isRefused('other', `host6:${HOST_PORT}`));
    await lineOf('REGISTRY_ONLY', 'm/other', /the mesh does not know/);
    for (const what of ['server', 'near', 'pod foreign', 'pod6 foreign', 'pod6 near', 'behind'])
      assert(await reaches('other', what), what);
    const found = (await mesh.status()).controller?.objects.find(({ kind }) => kind === 'MeshSettings');
    assert.match(found?.message ?? '', /are refused/);
    await check(`[{cidrs: [{cidr: ${hosts.get('host')}}]}]`, [`host:${HOST_PORT}`], ['server']);
    assert(await isRefused('other', `host:${HOST_PORT}`));
    await check(
      `[{cidrs: [{cidr: ${(hosts.get('host6') ?? '').slice(1, -1)}}]}]`,
      [`host6:${HOST_PORT}`],
      [],
    );
    mesh.write('namespace.yaml', OPEN_NAMESPACE);
    await eventually('the host to be reached', () => reaches('other', `host:${HOST_PORT}`));
    assert(await reaches('other', `host6:${HOST_PORT}`));
  });
});
