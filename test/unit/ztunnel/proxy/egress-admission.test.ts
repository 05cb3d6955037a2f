import assert from 'node:assert/strict';
import net from 'node:net';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { EgressStore } from '../../../../lib/mesh/egress/egress-store.ts';
import type { EgressPolicy, EgressRule } from '../../../../lib/mesh/egress/model.ts';
import { serveOutbound } from '../../../../ztunnel/proxy/outbound.ts';
import { Pod } from '../../../../ztunnel/proxy/pod.ts';
import { errorCode, eventually, readAll } from '../support/streams.ts';
import { toyMesh, ToyNetwork, toyWorkload, type ToyMesh } from '../support/toy-mesh.ts';

const APP_PORT = 8080;
const WAIT_MS = 400;
const UID = 'Kubernetes//Pod/default/client';
const RULE: EgressRule = {
  services: [],
  serviceAccounts: [],
  principals: [],
  namespaces: [],
  blocks: [],
  ports: [],
};

const policy = (...rules: Partial<EgressRule>[]): EgressPolicy => ({
  kind: 'policy',
  key: 'default/p',
  rules: rules.map((rule) => ({ ...RULE, ...rule })),
});

describe('ztunnel/proxy/egress-admission', () => {
  let network: ToyNetwork;
  let mesh: ToyMesh;
  let egress: EgressStore;
  let outbound: net.Server;
  let application: net.Server;
  let accepted: number;

  const select = (policies: string[] = ['default/p'], unknownDestinations: 'allow' | 'refuse' = 'allow') =>
    egress.apply({ upserts: [{ kind: 'workload', uid: UID, policies, unknownDestinations }], removed: [] });
  const put = (...rules: Partial<EgressRule>[]) => egress.apply({ upserts: [policy(...rules)], removed: [] });

  before(async () => {
    network = new ToyNetwork('ztegr');
    const echo = (socket: net.Socket): void => {
      accepted += 1;
      socket.on('error', () => undefined);
      socket.pipe(socket);
    };
    application = await network.b.listen(APP_PORT, echo, false);
    const info = { uid: 'uid-client', name: 'client', namespace: 'default', serviceAccount: 'client' };
    outbound = await network.a.listen(0, (s) => void serveOutbound(new Pod(info, mesh, network.a), s), true);
  });
  after(() => {
    for (const server of [outbound, application]) server.close();
    network.remove();
  });
  beforeEach(() => {
    accepted = 0;
    egress = new EgressStore();
    mesh = toyMesh({ stateWaitMs: WAIT_MS, egress });
    // As the connection worker has it.
    egress.onChange(() => mesh.registry.recheckSoon());
    const server = toyWorkload('server', network.b.ip, { tunnelProtocol: 'none' });
    mesh.workloads.apply({ upserts: [toyWorkload('client', network.a.ip), server], removed: [] });
    network.a.wanted = { ip: network.b.ip, port: APP_PORT };
  });
  afterEach(async () => {
    await eventually(() => mesh.registry.size === 0);
  });

  const dial = () =>
    network.a.dialRemote({ ip: network.a.ip, port: (outbound.address() as net.AddressInfo).port });
  const ended = (flag: string) =>
    eventually(() => mesh.records.find(({ fields }) => fields['response_flags'] === flag));
  async function refused(flag: string) {
    const client = dial();
    client.end('secret');
    assert.equal(await errorCode(client), 'ECONNRESET');
    assert.equal(accepted, 0, 'nothing was dialled');
    return ended(flag);
  }

  it('refuses before anything is dialled, with flag, policy, reason and counts, and proves nothing of the other end', async () => {
    select();
    put({ services: ['default/other'] });
    const { level, message, fields } = await refused('EGRESS');
    assert.deepEqual([level, message], ['warn', 'connection failed']);
    assert.equal(fields['policy'], 'default/p');
    assert.match(String(fields['error']), /denied: no rule allows pod default\/server port 8080/);
    assert.equal(fields['dst.workload'], 'server');
    assert.equal(fields['dst.identity'], undefined);
    const batch = mesh.metrics.takeBatch();
    assert.deepEqual(batch.egress, [{ reason: 'policy', policy: 'default/p', count: 1 }]);
    const [flow] = batch.flows;
    assert.deepEqual([flow?.failed, flow?.opened], [1, 0]);
    assert(flow?.labels.includes('EGRESS') && !flow.labels.includes('mutual_tls'));
  });

  it('lets through what a rule allows', async () => {
    select();
    put({ namespaces: ['default'], ports: [{ first: 8000, last: 8100 }] });
    const client = dial();
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
  });

  it('lets nothing out of a pod of which it was not told, and waits for it to be', async () => {
    const early = dial();
    early.end('hello');
    await eventually(() => mesh.registry.size === 1);
    assert.equal(accepted, 0);
    select([]);
    assert.equal(await readAll(early), 'hello');
    egress.apply({ upserts: [], removed: [`workload/${UID}`] });
    accepted = 0;
    const { fields } = await refused('EGRESS');
    assert.match(String(fields['error']), /not known/);
  });

  it('waits for a policy that is named, and refuses when it does not come', async () => {
    select();
    const early = dial();
    early.end('hello');
    await eventually(() => mesh.registry.size === 1);
    put({ namespaces: ['default'] });
    assert.equal(await readAll(early), 'hello');
    egress.apply({ upserts: [], removed: ['policy/default/p'] });
    accepted = 0;
    const { fields } = await refused('EGRESS');
    assert.match(String(fields['error']), /policy default\/p is not known/);
  });

  it('refuses what the mesh does not know, with a flag of its own', async () => {
    select([], 'refuse');
    mesh.workloads.apply({ upserts: [], removed: ['Kubernetes//Pod/default/server'] });
    const { level, fields } = await refused('REGISTRY_ONLY');
    assert.equal(level, 'warn');
    assert.equal(fields['policy'], undefined);
    assert.match(String(fields['error']), new RegExp(`the mesh does not know ${network.b.ip}:${APP_PORT}`));
    assert.deepEqual(mesh.metrics.takeBatch().egress, [{ reason: 'registry-only', policy: '', count: 1 }]);
  });

  it('cuts a live connection that a change forbids, counts it, and leaves what is still allowed', async () => {
    select();
    put({ namespaces: ['default'] });
    const client = dial();
    client.write('hello');
    await new Promise((resolve) => client.once('data', resolve));
    put({ namespaces: ['default'] }, { ports: [{ first: 1, last: 2 }] });
    client.write('again');
    await new Promise((resolve) => client.once('data', resolve));
    put({ ports: [{ first: 1, last: 2 }] });
    assert.equal(await errorCode(client), 'ECONNRESET');
    const { fields, message } = await ended('EGRESS');
    assert.equal(message, 'connection complete');
    assert.equal(fields['policy'], 'default/p');
    assert.match(String(fields['error']), /^closed due to policy change/);
    assert.deepEqual(mesh.metrics.takeBatch().egress, [{ reason: 'changed', policy: 'default/p', count: 1 }]);
  });

  it('keeps a live connection while what it needs is on its way, and cuts it when that does not come', async () => {
    select();
    put({ namespaces: ['default'] });
    const client = dial();
    client.write('hello');
    await new Promise((resolve) => client.once('data', resolve));
    egress.apply({ upserts: [], removed: ['policy/default/p'] });
    put({ namespaces: ['default'] });
    client.write('again');
    await new Promise((resolve) => client.once('data', resolve));
    egress.apply({ upserts: [], removed: ['policy/default/p'] });
    assert.equal(await errorCode(client), 'ECONNRESET');
  });

  it('keeps a connection to what was deleted since, as it was allowed when it was dialled', async () => {
    select();
    put({ namespaces: ['default'] });
    const client = dial();
    client.write('hello');
    await new Promise((resolve) => client.once('data', resolve));
    mesh.workloads.apply({ upserts: [], removed: ['Kubernetes//Pod/default/server'] });
    mesh.registry.recheckSoon();
    client.end('again');
    assert.equal(await readAll(client), 'again');
  });

  it('lets a pod reach itself', async () => {
    select();
    put();
    const own = await network.a.listen(0, (socket) => socket.pipe(socket), false);
    network.a.wanted = { ip: network.a.ip, port: (own.address() as net.AddressInfo).port };
    mesh.workloads.apply({
      upserts: [toyWorkload('client', network.a.ip, { tunnelProtocol: 'none' })],
      removed: [],
    });
    const client = dial();
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
    own.close();
  });

  it('restricts nothing where the control plane knows no such rules', async () => {
    const { workloads } = mesh;
    mesh = { ...toyMesh({ stateWaitMs: WAIT_MS }), workloads };
    const client = dial();
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
  });
});
