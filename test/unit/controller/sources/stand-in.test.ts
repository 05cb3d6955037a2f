import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { accept, type HeldObject } from '../../../../controller/sources/accept.ts';
import { LastGoodStore } from '../../../../controller/sources/last-good.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import { standInFor } from '../../../../controller/sources/stand-in.ts';
import { reportObjects } from '../../../../controller/status/report.ts';
import { MANIFESTS, temporaryDir } from '../harness.ts';

const CONTEXT = { rootNamespace: 'loam-system', trustDomain: 'cluster.local' };
const KEY = 'EgressPolicy/shop/front';

const policy = (spec: string, more = ''): string =>
  `{apiVersion: loam.dev/v1, kind: EgressPolicy, metadata: {name: front, namespace: shop}, spec: ${spec}${more}}`;
const GOOD = policy('{selector: {matchLabels: {app: frontend}}, allow: [{services: [{name: payments}]}]}');
const BROKEN = policy('{selector: {matchLabels: {app: frontend}}, allow: [{services: [{nam: payments}]}]}');

function run(text: string, previous: ReadonlyMap<string, HeldObject> = new Map(), file = 'egress.yaml') {
  const files = [
    { file: 'shop.yaml', documents: readManifest('shop.yaml', MANIFESTS) },
    { file, documents: readManifest(file, text) },
  ];
  return accept(files, previous, CONTEXT);
}

function specOf(found: ReturnType<typeof run>): unknown {
  const object = found.objects.get(KEY)?.object;
  return object?.kind === 'EgressPolicy' ? object.spec : undefined;
}

describe('sources/stand-in', () => {
  it('puts one that allows nothing in the place of a broken policy that was never right', () => {
    const found = run(BROKEN);
    assert.deepEqual(specOf(found), { selector: { matchLabels: { app: 'frontend' } }, allow: [] });
    assert.equal(found.objects.get(KEY)?.lastGood, false);
    const set = { generation: 1, files: [], ...found };
    const report = reportObjects(set, new Map()).find(({ name }) => name === 'front');
    assert.equal(report?.state, 'rejected');
    assert.match(report.message ?? '', /missing field "name".*in force in its place.*allows nothing/);
  });

  it('takes the whole namespace where not even the selector is right', () => {
    for (const broken of [
      policy('{selector: {matchLabel: {app: frontend}}}'),
      policy('null'),
      policy('{}', ', speck: 1'),
      GOOD.replace('loam.dev/v1,', 'loam.dev/v2,').replace('selector', 'slector'),
    ])
      assert.deepEqual(specOf(run(broken)), { allow: [] }, broken);
  });

  it('keeps the last good state in its place where there is one', () => {
    const good = run(GOOD);
    const broken = run(BROKEN, good.objects);
    assert.deepEqual(specOf(broken), specOf(good));
    assert.equal(broken.objects.get(KEY)?.lastGood, true);
    assert.equal(broken.objects.get(KEY)?.standIn, undefined);
  });

  it('follows the edits of a policy that is not right yet, and leaves no trace when it is', () => {
    const first = run(policy('{selector: 1}'));
    assert.deepEqual(specOf(first), { allow: [] });
    const second = run(BROKEN, first.objects);
    assert.deepEqual(specOf(second), { selector: { matchLabels: { app: 'frontend' } }, allow: [] });
    const unreadable = run('{apiVersion: [', second.objects);
    assert.deepEqual(specOf(unreadable), specOf(second));
    assert.equal(unreadable.objects.get(KEY)?.lastGood, false, 'it never was good');
    assert.match(unreadable.objects.get(KEY)?.standIn ?? '', /allows nothing/);
    const right = run(GOOD, unreadable.objects);
    assert.equal(right.objects.get(KEY)?.standIn, undefined);
    assert.deepEqual(right.problems, []);
    assert.equal(run('', right.objects).objects.has(KEY), false);
  });

  it('survives a restart as what it is', async () => {
    await using dir = await temporaryDir();
    const store = new LastGoodStore(dir.path);
    await store.save(run(BROKEN).objects);
    const loaded = await store.load();
    assert(loaded.state === 'loaded');
    const again = run(BROKEN, loaded.objects);
    assert.match(again.objects.get(KEY)?.standIn ?? '', /allows nothing/);
    assert.equal(again.objects.get(KEY)?.lastGood, false);
  });

  it('refuses unknown destinations in the place of broken settings, and only of the mesh', () => {
    const settings = (name: string, spec: string) =>
      `{apiVersion: loam.dev/v1, kind: MeshSettings, metadata: {name: ${name}}, spec: ${spec}}`;
    const found = run(settings('mesh', '{outboundTrafficPolicy: REGISTRY}')).objects.get(
      'MeshSettings//mesh',
    );
    assert(found?.object.kind === 'MeshSettings');
    assert.equal(found.object.spec.outboundTrafficPolicy, 'REGISTRY_ONLY');
    assert.equal(run(settings('mess', '{}')).objects.size, run('').objects.size);
  });

  it('puts nothing in the place of other kinds, nor of those of other groups', () => {
    const others = [
      GOOD.replace('loam.dev/v1', 'example.com/v1'),
      GOOD.replace('EgressPolicy', 'TrafficPolicy'),
      GOOD.replace('name: front', 'name: Front_End'),
    ];
    for (const text of others) assert.equal(run(text).objects.size, run('').objects.size, text);
  });

  it('closes what a broken policy may have meant, and no more', () => {
    const security = (kind: string, spec: object): Record<string, unknown> => ({
      apiVersion: 'security.istio.io/v1beta1',
      kind,
      metadata: { name: 'p', namespace: 'shop' },
      spec,
    });
    const closed = (
      spec: object,
      kind: 'AuthorizationPolicy' | 'PeerAuthentication' = 'AuthorizationPolicy',
    ): unknown => (standInFor(kind, security(kind, spec))?.object as { spec?: unknown } | undefined)?.spec;
    const selector = { matchLabels: { app: 'payments' } };
    assert.deepEqual(closed({ selector, rulez: [] }), { selector });
    assert.deepEqual(closed({ selector: { matchLabel: {} } }), {});
    assert.deepEqual(closed({ selector, mtls: 1 }, 'PeerAuthentication'), {
      selector,
      mtls: { mode: 'STRICT' },
    });
    const own = { kind: 'Service', name: 'payments' };
    const foreign = { group: 'example.com', kind: 'Edge', name: 'x' };
    assert.deepEqual(closed({ targetRefs: [own, foreign], rules: 1 }), { targetRefs: [own] });
    assert.deepEqual(closed({ targetRef: own, selector }), {}, 'which of the two was meant is unknown');
    assert.deepEqual(closed({ targetRefs: [{ kind: 'Service' }] }), {});
    assert.equal(closed({ targetRefs: [foreign], rules: 1 }), undefined);
    assert.equal(closed({ action: 'AUDIT', rules: 1 }), undefined);
    // One that allows nothing would deny nothing where another policy allows.
    const denyAll = { action: 'DENY', rules: [{}] };
    for (const action of ['DENY', 'DENI', 'deny', 'CUSTOM', '', 3])
      assert.deepEqual(closed({ selector, action, rulez: [] }), { selector, ...denyAll }, String(action));
    assert.deepEqual(closed({ action: 'DENY', targetRefs: [own], rules: 1 }), {
      targetRefs: [own],
      ...denyAll,
    });
    for (const action of ['ALLOW', 'ALOW', 'allow', null])
      assert.deepEqual(closed({ selector, action, rulez: [] }), { selector }, String(action));
    for (const spec of [
      { selector, acton: 'DENY' },
      { selector, Action: 'deny', action: null },
    ])
      assert.deepEqual(closed(spec), { selector, ...denyAll });
    const misnamed = { ...security('AuthorizationPolicy', {}), spec: undefined, spce: { action: 'DENY' } };
    assert.deepEqual(standInFor('AuthorizationPolicy', misnamed)?.object, {
      ...{ apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy' },
      ...{ metadata: { name: 'p', namespace: 'shop' }, spec: denyAll },
    });
    assert.equal(standInFor('RequestAuthentication', security('RequestAuthentication', {})), undefined);
  });
});
