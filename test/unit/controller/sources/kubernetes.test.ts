import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { type MeshChange, MeshCompiler } from '../../../../controller/compile/incremental.ts';
import { type CompiledMesh, compileMesh } from '../../../../controller/compile/mesh.ts';
import type { KubeObject } from '../../../../controller/model/objects.ts';
import { READ_KINDS } from '../../../../controller/sources/kubernetes/kinds.ts';
import { KubernetesSource } from '../../../../controller/sources/kubernetes/source.ts';
import type { AcceptedObject, Problem } from '../../../../controller/sources/source.ts';
import { KubeClient } from '../../../../lib/kubernetes/client.ts';
import { FakeKubeApi, type FakeObject } from '../../../support/fake-kube-api.ts';
import {
  account,
  compiledOf,
  MESH,
  namespace,
  pod,
  policy,
  service,
} from '../../../support/source-compliance.ts';
import { until } from '../../lib/kubernetes/until.ts';
import { SILENT } from '../harness.ts';

const TIMES = { absentMs: 20, retryMs: 5, maxRetryMs: 50, watchMs: 60_000 };
const POLICY = 'AuthorizationPolicy/shop/only-frontend';

describe('sources/kubernetes', () => {
  let api: FakeKubeApi;
  let client: KubeClient;
  let source: KubernetesSource;
  const end = new AbortController();

  beforeEach(async () => {
    api = await FakeKubeApi.start();
    api.serve(...READ_KINDS.map(({ path }) => path));
    client = new KubeClient(api.access);
    source = new KubernetesSource({ client, log: SILENT, times: TIMES, ...MESH });
  });
  afterEach(async () => {
    await source.close();
    client.close();
    await api[Symbol.asyncDispose]();
  });

  const pathOf = (kind: string): string => READ_KINDS.find((each) => each.kind === kind)?.path ?? '';
  const put = <T extends FakeObject>(object: T): void => api.put(pathOf(object.kind ?? ''), object);
  const find = (key: string): AcceptedObject | undefined => source.current.objects.get(key);
  const errors = (): Problem[] => source.current.problems.filter(({ severity }) => severity === 'error');

  function shop(): void {
    put(namespace('shop'));
    put(account('shop', 'payments'));
    put(service('shop', 'payments', '198.19.0.5'));
    put(pod('shop', 'payments-0', 'payments', '198.18.2.2'));
  }

  /** What the compiler makes of it now, as far as pods go: what stands in the address of each. */
  function addresses(): string {
    const objects = [...source.current.objects.values()].map(({ object }): KubeObject => object);
    return JSON.stringify(compiledOf(objects, source.assignments.current, 'shop'));
  }

  it('is ready when every kind has been listed, and not before', async () => {
    shop();
    const held = pathOf('EgressPolicy');
    api.refuse(held, 403);
    const started = source.start();
    await until(() => /403/.test(source.gate().reason));
    assert.equal(source.gate().ready, false);
    assert.equal(source.assignments.gate().ready, false);
    assert.equal(source.current.objects.size, 0);
    assert.match(source.gate().reason, /egresspolicies.*403/);
    api.refuse(held, undefined);
    await started;
    assert.equal(source.gate().ready, true);
    assert(find('Pod/shop/payments-0'));
  });

  it('takes absent kinds for empty, and follows them when they come', async () => {
    const path = pathOf('AuthorizationPolicy');
    api.unserve(path);
    shop();
    await source.start();
    assert.equal(source.gate().ready, true);
    api.serve(path);
    put(policy('shop', 'one'));
    await until(() => find(POLICY) !== undefined);
  });

  it('takes a storm of changes in few steps', async () => {
    shop();
    await source.start();
    let sets = 0;
    source.onChange(() => (sets += 1), end.signal);
    for (let i = 0; i < 500; i += 1) put(pod('shop', `p${i}`, 'payments', `198.18.3.${i % 250}`));
    await until(() => source.current.objects.size >= 504);
    assert(sets < 50, `${sets} sets for 500 changes`);
  });

  it('has after pods came, changed and went what a source has that begins then, warnings soon after', async () => {
    shop();
    put(service('shop', 'idle', '198.19.0.6'));
    source = new KubernetesSource({ client, log: SILENT, times: TIMES, ...MESH, warningsDelayMs: 50 });
    await source.start();
    const warnings = (): string => source.current.problems.map(({ message }) => message).join('\n');
    assert.match(warnings(), /selects no Pod.*app=idle/);
    const compiler = new MeshCompiler();
    let byPart = 0;
    let compiled: MeshChange | undefined;
    const compile = (): void => {
      const { objects, changes } = source.current;
      assert(changes !== undefined);
      const { current: assignments } = source.assignments;
      compiled = compiler.compile({ objects, changes, assignments, clusterId: 'Kubernetes', ...MESH });
      if (compiled.patch !== undefined) byPart += 1;
    };
    source.onChange(compile, end.signal);
    compile();
    for (const [i, name] of ['zz', 'aa', 'mm', 'payments-00'].entries())
      put(pod('shop', name, 'payments', `198.18.4.${10 + i}`));
    await until(() => find('Pod/shop/payments-00') !== undefined);
    put(pod('shop', 'mm', 'idle', '198.18.4.2'));
    api.remove(pathOf('Pod'), 'shop/aa');
    await until(
      () =>
        find('Pod/shop/aa') === undefined &&
        source.assignments.current.pods['shop/mm']?.ips[0] === '198.18.4.2',
    );
    await until(() => !/selects no Pod.*app=idle/.test(warnings()));
    const fresh = new KubernetesSource({ client, log: SILENT, times: TIMES, ...MESH });
    await fresh.start();
    assert.deepEqual([...source.current.objects], [...fresh.current.objects]);
    assert.deepEqual(source.current.problems, fresh.current.problems);
    assert.deepEqual({ ...source.assignments.current.pods }, { ...fresh.assignments.current.pods });
    compile();
    const whole = compileMesh({
      objects: [...fresh.current.objects.values()].map(({ object }) => object),
      ...{ assignments: fresh.assignments.current, clusterId: 'Kubernetes', ...MESH },
    });
    assert.deepEqual(compiled?.mesh.identities, whole.identities);
    const bytes = (mesh: CompiledMesh | undefined): string[] =>
      [...(mesh?.addresses ?? [])].map(
        ([name, { bytes }]) => `${name} ${Buffer.from(bytes).toString('hex')}`,
      );
    assert.deepEqual(bytes(compiled?.mesh).sort(), bytes(whole).sort());
    assert(byPart > 0, 'no change was compiled by part');
    await fresh.close();
  });

  it('takes a status that changes for no change of the object', async () => {
    shop();
    await source.start();
    let sets = 0;
    let places = 0;
    source.onChange(() => (sets += 1), end.signal);
    source.assignments.onChange(() => (places += 1), end.signal);
    const { generation } = source.current;
    const ready = addresses();
    const sick = pod('shop', 'payments-0', 'payments', '198.18.2.2');
    put({ ...sick, status: { ...sick.status, conditions: [{ type: 'Ready', status: 'False' }] } });
    await until(() => source.assignments.current.pods['shop/payments-0']?.ready === false);
    assert.notEqual(addresses(), ready);
    // What a kubelet writes of no interest makes nobody compile.
    put({
      ...sick,
      status: { ...sick.status, conditions: [{ type: 'Ready', status: 'False' }], startTime: 'now' },
    });
    put(sick);
    await until(() => source.assignments.current.pods['shop/payments-0']?.ready === true);
    assert.equal(addresses(), ready);
    assert.equal(sets, 0);
    assert(places <= 2);
    assert.equal(source.current.generation, generation);
  });

  it('gives no address to a pod that has ended, and no connection to one that is being deleted', async () => {
    shop();
    const ended = pod('shop', 'job-1', 'payments', '198.18.2.9');
    put({ ...ended, status: { ...ended.status, phase: 'Succeeded' } });
    const leaving = pod('shop', 'leaving', 'payments', '198.18.2.10');
    put({ ...leaving, metadata: { ...leaving.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } });
    put({ ...pod('shop', 'pending', 'payments', ''), status: { phase: 'Pending' } });
    await source.start();
    const { pods } = source.assignments.current;
    assert.deepEqual(Object.keys(pods).sort(), ['shop/leaving', 'shop/payments-0']);
    assert.equal(pods['shop/leaving']?.ready, false);
    assert.deepEqual(pods['shop/payments-0'], {
      uid: 'uid-shop/payments-0',
      ips: ['198.18.2.2'],
      node: 'node-a',
      ready: true,
    });
    assert(!addresses().includes('job-1'));
    api.remove(pathOf('Pod'), 'shop/payments-0');
    await until(() => source.assignments.current.pods['shop/payments-0'] === undefined);
  });

  it('refuses no Pod, Service or Namespace for what it does not know of it, and says what looks wrong', async () => {
    put({
      ...namespace('shop', { 'loam.dev/dataplane-mode': 'ambeint' }),
      spec: { finalizers: ['kubernetes'], news: 1 },
    });
    put({ ...service('shop', 'payments', '198.19.0.5'), news: { a: 1 } });
    const odd = pod('shop', 'odd', 'payments', '198.18.2.7');
    put({
      ...odd,
      metadata: {
        ...odd.metadata,
        labels: { app: 'payments', 'loam.dev/unknown': 'x' },
        managedFields: [{}],
        news: [],
      },
      spec: {
        ...odd.spec,
        containers: [{ name: 'main', news: {}, ports: [{ containerPort: 1, news: 1 }] }],
        news: [1],
      },
    });
    await source.start();
    assert.deepEqual(errors(), []);
    const warnings = source.current.problems.map(({ message }) => message).join('\n');
    assert.match(warnings, /"ambeint" is not allowed/);
    assert.match(warnings, /unknown label "loam.dev\/unknown"/);
    for (const key of ['Namespace//shop', 'Service/shop/payments', 'Pod/shop/odd']) assert(find(key), key);
  });

  it('lets a policy fail closed that the API server admitted and Loam does not understand', async () => {
    shop();
    put({
      ...policy('shop', 'one', { action: 'CUSTOM', provider: { name: 'x' } }),
      kind: 'AuthorizationPolicy',
    });
    put({
      apiVersion: 'security.istio.io/v1',
      kind: 'PeerAuthentication',
      metadata: { name: 'p', namespace: 'shop' },
      spec: { mtls: { mode: 'PERMISSIVE', strictness: 7 } },
    });
    await source.start();
    const stand = find(POLICY);
    assert.match(stand?.standIn ?? '', /denies everything/);
    assert(stand?.object.kind === 'AuthorizationPolicy');
    assert.deepEqual(stand.object.spec, {
      selector: { matchLabels: { app: 'payments' } },
      ...{ action: 'DENY', rules: [{}] },
    });
    assert.deepEqual(find('PeerAuthentication/shop/p')?.object, {
      apiVersion: 'security.istio.io/v1',
      kind: 'PeerAuthentication',
      metadata: { name: 'p', namespace: 'shop' },
      spec: { mtls: { mode: 'STRICT' } },
    });
    assert.deepEqual(
      errors()
        .map(({ field }) => field)
        .sort(),
      ['spec.action', 'spec.mtls.strictness', 'spec.provider'],
    );
    put(policy('shop', 'one'));
    await until(() => find(POLICY)?.standIn === undefined);
  });

  it('holds what it knows while the API server is away or starts anew, and then catches up', async () => {
    shop();
    put(policy('shop', 'one'));
    await source.start();
    const before = addresses();
    const { port } = api;
    await api.stop();
    await until(() => source.current.files.every(({ error }) => error !== undefined));
    assert.equal(source.gate().ready, true);
    assert.equal(addresses(), before);
    api.compact();
    api.remove(pathOf('AuthorizationPolicy'), 'shop/only-frontend');
    put(pod('shop', 'payments-1', 'payments', '198.18.2.3'));
    await api.listen(port);
    await until(() => find(POLICY) === undefined && find('Pod/shop/payments-1') !== undefined);
    await until(() => source.current.files.every(({ error }) => error === undefined));
  });

  it("makes of a waypoint's Service and pods its Gateway's places, and of nothing that only looks like them", async () => {
    shop();
    put({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'way', namespace: 'shop', uid: 'g1' },
      spec: {
        gatewayClassName: 'loam-waypoint',
        listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      },
    });
    const owned = { ownerReferences: [{ kind: 'Gateway', name: 'way', uid: 'g1', controller: true }] };
    const own = service('shop', 'way', '198.19.0.9');
    const label = { 'gateway.networking.k8s.io/gateway-name': 'way' };
    const instance = pod('shop', 'way-1', 'way', '198.18.2.8');
    put({ ...instance, metadata: { ...instance.metadata, labels: label } });
    // Another's pod with the label, and a Service of the name that nobody made for the Gateway.
    const liar = pod('shop', 'liar', 'payments', '198.18.2.6');
    put({ ...liar, metadata: { ...liar.metadata, labels: label } });
    put(own);
    await source.start();
    assert.deepEqual(source.assignments.current.gateways, {});
    assert(find('Service/shop/way'));
    put({ ...own, metadata: { ...own.metadata, ...owned } });
    await until(() => source.assignments.current.gateways?.['shop/way'] !== undefined);
    assert.deepEqual(source.assignments.current.gateways?.['shop/way'], {
      clusterIPs: ['198.19.0.9'],
      instances: [{ name: 'way-1', ips: ['198.18.2.8'], node: 'node-a', ready: true }],
    });
    assert.equal(find('Service/shop/way'), undefined);
    assert.equal(find('Pod/shop/way-1'), undefined);
    assert(find('Pod/shop/liar'));
    assert.deepEqual(Object.keys(source.assignments.current.pods).sort(), ['shop/liar', 'shop/payments-0']);
    api.remove(pathOf('Gateway'), 'shop/way');
    await until(() => find('Pod/shop/way-1') !== undefined && find('Service/shop/way') !== undefined);
    assert.deepEqual(source.assignments.current.gateways, {});
    assert(source.assignments.current.pods['shop/way-1']);
  });

  it('tells of each object its generation, version and status as they are now', async () => {
    shop();
    put({
      ...policy('shop', 'one'),
      status: { conditions: [] },
      metadata: { ...policy('shop', 'one').metadata, generation: 4 },
    });
    await source.start();
    const found = source.resource({ kind: 'AuthorizationPolicy', namespace: 'shop', name: 'only-frontend' });
    assert.equal(found?.metadata.generation, 4);
    assert.match(found.metadata.resourceVersion ?? '', /^\d+$/);
    assert.deepEqual(found.status, { conditions: [] });
    assert.equal(source.resources('Pod').size, 1);
    // Writing a status makes nobody compile.
    const { generation } = source.current;
    put({
      ...policy('shop', 'one'),
      status: { conditions: [{}] },
      metadata: { ...policy('shop', 'one').metadata, generation: 4 },
    });
    await until(
      () =>
        source.resources('AuthorizationPolicy').get('shop/only-frontend')?.status?.['conditions'] instanceof
          Array &&
        JSON.stringify(source.resources('AuthorizationPolicy').get('shop/only-frontend')?.status) ===
          '{"conditions":[{}]}',
    );
    assert.equal(source.current.generation, generation);
  });
});
