import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { accept, type HeldObject, type ReadFile } from '../../../../controller/sources/accept.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import { MANIFESTS, policyManifest } from '../harness.ts';

const CONTEXT = { rootNamespace: 'loam-system', trustDomain: 'cluster.local' };
const POLICY = 'AuthorizationPolicy/shop/payments-only-frontend';
const GOOD = policyManifest('cluster.local/ns/shop/sa/frontend');

function files(content: Record<string, string>): ReadFile[] {
  return Object.entries(content).map(([file, text]) => ({ file, documents: readManifest(file, text) }));
}

function run(content: Record<string, string>, previous: ReadonlyMap<string, HeldObject> = new Map()) {
  return accept(files(content), previous, CONTEXT);
}

const before = run({ 'shop.yaml': MANIFESTS, 'policy.yaml': GOOD }).objects;

describe('sources/accept', () => {
  it('accepts an ordinary set without a word', () => {
    const { objects, problems } = run({ 'shop.yaml': MANIFESTS, 'policy.yaml': GOOD });
    assert.deepEqual(problems, []);
    assert.equal(objects.size, 7);
  });

  const breakages: Record<string, string> = {
    'wrong YAML': GOOD.replace('rules: [', 'rules: [{'),
    'a wrong field': GOOD.replace('action: DENY', 'action: DENI'),
    'a wrong name': GOOD.replace('payments-only-frontend', 'Payments_Only'),
    'a wrong kind': GOOD.replace('kind: AuthorizationPolicy', 'kind: AuthorisationPolicy'),
    'a wrong namespace': GOOD.replace('namespace: shop', 'namespace: shopp'),
    'binary rubbish': '\u0000\u0001',
    'a map without kind': 'spec: {}',
    'a list': '- a\n- b',
  };
  for (const [what, broken] of Object.entries(breakages)) {
    it(`keeps the last good state through ${what}, and all others go on`, () => {
      const { objects, problems } = run(
        { 'shop.yaml': MANIFESTS.replace('port: 80,', 'port: 81,'), 'policy.yaml': broken },
        before,
      );
      assert.equal(objects.get(POLICY)?.lastGood, true);
      const service = objects.get('Service/shop/payments');
      assert(service?.object.kind === 'Service' && service.object.spec.ports?.[0]?.port === 81);
      assert(
        problems.some(
          ({ severity, file, line }) => severity === 'error' && file === 'policy.yaml' && line !== undefined,
        ),
      );
    });
  }

  it('forgets an object with its file or its document', () => {
    assert.equal(run({ 'shop.yaml': MANIFESTS }, before).objects.has(POLICY), false);
    assert.equal(
      run({ 'shop.yaml': MANIFESTS, 'policy.yaml': '# nothing left\n' }, before).objects.has(POLICY),
      false,
    );
  });

  it('does not keep a removed object because a neighbour, known by name, is broken', () => {
    const other = policyManifest('x', 'other');
    const both = run({ 'shop.yaml': MANIFESTS, 'policy.yaml': `${GOOD}---${other}` }).objects;
    const { objects } = run({ 'shop.yaml': MANIFESTS, 'policy.yaml': other.replace('DENY', 'DENI') }, both);
    assert.equal(objects.has(POLICY), false);
    assert.equal(objects.get('AuthorizationPolicy/shop/other')?.lastGood, true);
  });

  it('keeps everything of a file and of a directory that cannot be read', () => {
    const held = run({ 'sub/policy.yaml': GOOD, 'shop.yaml': MANIFESTS }).objects;
    for (const file of ['sub/policy.yaml', 'sub']) {
      const found = accept(
        [...files({ 'shop.yaml': MANIFESTS }), { file, error: 'cannot be read (EACCES)', documents: [] }],
        held,
        CONTEXT,
      );
      assert.equal(found.objects.get(POLICY)?.lastGood, true, file);
    }
  });

  it('lets the file in force win over a duplicate, and names both', () => {
    const { objects, problems } = run(
      { 'a.yaml': GOOD.replace('DENY', 'ALLOW'), 'shop.yaml': MANIFESTS, 'policy.yaml': GOOD },
      before,
    );
    assert.equal(objects.get(POLICY)?.file, 'policy.yaml');
    const [problem] = problems;
    assert.equal(problem?.file, 'a.yaml');
    assert.match(problem?.message ?? '', /defined twice; the one in policy\.yaml/);
  });

  it('does not let a duplicate take over from an object that was broken', () => {
    const weaker = GOOD.replace('DENY', 'ALLOW');
    const { objects, problems } = run(
      { 'a.yaml': weaker, 'shop.yaml': MANIFESTS, 'policy.yaml': GOOD.replace('rules', 'roles') },
      before,
    );
    const found = objects.get(POLICY);
    assert.deepEqual([found?.file, found?.lastGood], ['policy.yaml', true]);
    assert(problems.some(({ file, field }) => file === 'policy.yaml' && field === 'spec.roles'));
    // Removed, and not broken: then the other is the only one.
    assert.equal(
      run({ 'a.yaml': weaker, 'shop.yaml': MANIFESTS }, objects).objects.get(POLICY)?.file,
      'a.yaml',
    );
  });

  it('reports a policy for a Service that does not exist, and keeps its last good state', () => {
    const bySelector = 'selector: {matchLabels: {app: payments}}';
    const forService = (name: string): string =>
      GOOD.replace(bySelector, `targetRefs: [{kind: Service, group: "", name: ${name}}]`);
    const good = run({ 'shop.yaml': MANIFESTS, 'policy.yaml': forService('payments') });
    assert.deepEqual(good.problems, []);
    const { objects, problems } = run(
      { 'shop.yaml': MANIFESTS, 'policy.yaml': forService('payment') },
      good.objects,
    );
    assert.equal(objects.get(POLICY)?.lastGood, true);
    assert.deepEqual([problems[0]?.field, problems[0]?.allowed], ['spec.targetRefs[0].name', 'payments']);
  });

  it('reports a dangling account with what exists, and does not admit the pod', () => {
    const { objects, problems } = run({
      'shop.yaml': MANIFESTS.replace('serviceAccountName: payments', 'serviceAccountName: payment'),
    });
    assert.equal(objects.has('Pod/shop/payments-0'), false);
    const problem = problems.find(({ severity }) => severity === 'error');
    assert.deepEqual(
      [problem?.field, problem?.value, problem?.allowed],
      ['spec.serviceAccountName', '"payment"', 'frontend, payments'],
    );
    assert.match(problem?.message ?? '', /did you mean "payments"\?/);
  });

  it('says of what needs an object with a wrong manifest that it is there and wrong', () => {
    const { objects, problems } = run({
      'shop.yaml': MANIFESTS.replace('dataplane-mode: ambient', 'dataplane-mode: ambeint'),
    });
    assert.equal(objects.size, 0);
    const [label, ...others] = problems.filter(({ severity }) => severity === 'error');
    assert.deepEqual([label?.object?.kind, label?.allowed], ['Namespace', 'ambient, observe, none']);
    assert.equal(others.length, 5);
    for (const { message } of others)
      assert.equal(message, 'the manifest of Namespace "shop" is wrong itself (shop.yaml:4)');
  });

  it('keeps a Namespace while objects are in it: its labels enrol them', () => {
    const withoutNamespace = MANIFESTS.split('---').slice(1).join('---');
    const { objects, problems } = run({ 'shop.yaml': withoutNamespace }, before);
    assert.equal(objects.get('Namespace//shop')?.lastGood, true);
    assert(problems.some(({ message }) => message.includes('was deleted, but stays in force')));
    assert.equal(run({ 'empty.yaml': '' }, before).objects.size, 0);
  });

  it('warns of selectors that select nothing', () => {
    const { problems } = run({
      'shop.yaml': MANIFESTS.replace('selector: {app: payments}', 'selector: {app: payment}'),
      'p.yaml': GOOD.replace('app: payments', 'app: paymentz'),
    });
    assert.deepEqual(
      problems.map(({ severity, field }) => [severity, field]),
      [
        ['warning', 'spec.selector'],
        ['warning', 'spec.selector'],
      ],
    );
  });
});
