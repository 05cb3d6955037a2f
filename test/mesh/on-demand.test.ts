import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { ask } from '../../cli/local/http.ts';
import { netnsName } from '../../cli/local/names.ts';
import { ZTUNNEL_ADMIN_PORT } from '../../cli/local/programs.ts';
import { PATIENCE } from '../support/patience.ts';
import { eventually, Mesh } from './harness.ts';
import { allowOnly, BASE, serverManifest, serviceManifest } from './manifests.ts';

/** What the Service selects. */
const RUN_FAR = { labels: { run: 'far' } };

interface Dump {
  readonly workloads: readonly { readonly name: string }[];
  readonly services: readonly { readonly hostname: string }[];
}

describe('mesh: nodes that ask for what they need', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  const ips = new Map<string, string>();

  before(async () => {
    mesh = await Mesh.up(
      {
        ...BASE,
        'far.yaml': serverManifest('far', 'node-b', {}, RUN_FAR),
        'far-service.yaml': serviceManifest('far', 'far', { 80: 8080 }).replace('app: far', 'run: far'),
        'late.yaml': serverManifest('late', 'node-b'),
      },
      { LOAM_XDS_ON_DEMAND: 'on' },
    );
    for (const name of ['late', 'server']) ips.set(name, (await mesh.pod(name)).ip);
  });
  after(() => mesh.down());

  async function echo(host: string, seconds = 10): Promise<string> {
    const { stdout } = await mesh.exec(
      'client',
      ...(['curl', '-sS', '--max-time', String(seconds * PATIENCE), '--data', 'x'] as const),
      `http://${host}/`,
    );
    return stdout;
  }

  /** What the ztunnel of a node knows of the mesh. */
  async function known(node: string): Promise<string[]> {
    const netns = netnsName(mesh.name, { kind: 'node', node });
    const { body } = await ask({ netns, port: ZTUNNEL_ADMIN_PORT }, '/config_dump');
    const { workloads, services } = JSON.parse(body) as Dump;
    return [...workloads.map(({ name }) => name), ...services.map(({ hostname }) => hostname)].sort();
  }

  it('know their own pods with their Services, and nothing else before it is dialled', async () => {
    const names = await known('node-a');
    for (const own of ['client', 'other', 'near', 'near.m.svc.cluster.local'])
      assert(names.includes(own), own);
    for (const foreign of ['server', 'far', 'late', 'far.m.svc.cluster.local'])
      assert(!names.includes(foreign), foreign);
  });

  it('reach by mutual TLS what they ask for then: a Service with its pods, and a pod by its address', async () => {
    assert.equal(await echo('far.m'), 'x');
    assert.equal(await echo(`${ips.get('server')}:8080`), 'x');
    for (const destination of ['m/far', 'm/server']) {
      const line = await eventually(`the connection to ${destination} by HBONE`, () =>
        mesh
          .accessLog('node-b')
          .find((each) => each.direction === 'inbound' && each.destination === destination),
      );
      assert.equal(line.sourceIdentity, 'spiffe://cluster.local/ns/m/sa/client');
    }
    const names = await known('node-a');
    for (const needed of ['far', 'far.m.svc.cluster.local', 'server']) assert(names.includes(needed), needed);
    assert(!names.includes('late'));
  });

  it('follow what they asked for: a pod that comes behind a Service, and one that goes', async () => {
    mesh.write('farther.yaml', serverManifest('farther', 'node-b', {}, RUN_FAR));
    await eventually('the new endpoint to be known', async () => (await known('node-a')).includes('farther'));
    mesh.remove('farther.yaml');
    await eventually(
      'the endpoint to be forgotten',
      async () => !(await known('node-a')).includes('farther'),
    );
    assert.equal(await echo('far.m'), 'x');
  });

  it('enforce policies, which all of them have', async () => {
    mesh.write('policy.yaml', allowOnly('server', 'other'));
    await eventually(
      'the client to be refused',
      async () => (await echo(`${ips.get('server')}:8080`)) !== 'x',
    );
    mesh.remove('policy.yaml');
    await eventually(
      'the client to be let in',
      async () => (await echo(`${ips.get('server')}:8080`)) === 'x',
    );
  });

  it('go on to what they know while no controller answers, and never in plaintext to what they do not', async () => {
    const { pid } = await mesh.program('controller');
    process.kill(pid, 'SIGSTOP');
    try {
      assert.equal(await echo(`${ips.get('server')}:8080`), 'x');
      assert.notEqual(await echo(`${ips.get('late')}:8080`, 20), 'x');
      const refused = await eventually('the refusal in the log', () =>
        mesh
          .accessLog('node-a')
          .find((each) => each.direction === 'outbound' && /did not say within/.test(each.error ?? '')),
      );
      assert.deepEqual([refused.source, refused.flags], ['m/client', 'CONNECT']);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await eventually(
      'the address to be reached',
      async () => (await echo(`${ips.get('late')}:8080`)) === 'x',
    );
  });
});
