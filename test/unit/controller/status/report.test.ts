import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { accept } from '../../../../controller/sources/accept.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import type { ObjectSet } from '../../../../controller/sources/source.ts';
import { ofKinds, reportFiles, reportObjects, reportWarnings } from '../../../../controller/status/report.ts';
import { MANIFESTS } from '../harness.ts';

function setOf(content: Record<string, string>): ObjectSet {
  const files = Object.entries(content).map(([file, text]) => ({
    file,
    documents: readManifest(file, text),
  }));
  const found = accept(files, new Map(), { rootNamespace: 'loam-system', trustDomain: 'cluster.local' });
  return { generation: 1, files: files.map(({ file }) => ({ file })), ...found };
}

describe('status/report', () => {
  it('says of a document without a proper name what it is, what is wrong, and what is allowed', () => {
    const pod = 'apiVersion: v1\nkind: Pod\nmetadata: {name: Bad_Name}\nspec: {containers: [{name: a}]}\n';
    const [file] = reportFiles(setOf({ 'w9.yaml': `---\n${pod}` }));
    assert.match(
      file?.error ?? '',
      /^line 4: Pod "Bad_Name": metadata\.name: "Bad_Name" is not allowed; allowed: lower case/,
    );
  });

  it('lists what is passed over as a warning with file, line and kind, and not as refused', () => {
    const set = setOf({
      'shop.yaml': MANIFESTS,
      'deploy.yaml': '\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n',
      'odd.yaml': 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Odd_Name}\n',
    });
    const [deployment, configMap, ...more] = reportWarnings(set);
    assert.deepEqual(more, []);
    assert.deepEqual(
      [deployment?.file, deployment?.line, deployment?.kind, deployment?.namespace, deployment?.name],
      ['deploy.yaml', 2, 'Deployment', 'shop', 'web'],
    );
    assert.match(deployment?.text ?? '', /^deploy\.yaml:2: Deployment shop\/web: kind: Loam does not read/);
    assert.equal(configMap?.kind, 'ConfigMap');
    assert.match(configMap.text, /^odd\.yaml:1: ConfigMap "Odd_Name": kind/);
    assert(!reportObjects(set, new Map()).some(({ kind }) => kind === 'Deployment'));
  });

  it('tells of some kinds what it tells of all', () => {
    const bad =
      'apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: shop}\nspec: {ports: [{port: 0}]}\n';
    const set = setOf({ 'shop.yaml': MANIFESTS, 'bad.yaml': bad });
    const all = reportObjects(set, new Map());
    assert(new Set(all.map(({ kind }) => kind)).size > 2);
    assert(all.some(({ kind, state }) => kind === 'Service' && state === 'rejected'));
    for (const kinds of [['Service'], ['Pod', 'Service'], ['Gateway']] as const)
      assert.deepEqual(
        reportObjects(ofKinds(set, kinds), new Map()),
        all.filter(({ kind }) => (kinds as readonly string[]).includes(kind)),
      );
  });

  it('sorts warnings by file and line', () => {
    const service = (name: string): string =>
      `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {clusterIP: None, selector: {app: x}}\n`;
    const set = setOf({ 'b.yaml': service('z'), 'a.yaml': `${service('y')}---\n${service('x')}` });
    assert.deepEqual(
      reportWarnings(set).map(({ file, line }) => `${file}:${line}`),
      ['a.yaml:1', 'a.yaml:6', 'b.yaml:1'],
    );
  });

  it('lists what only the compiler can see, at the place of the object', () => {
    const set = setOf({ 'shop.yaml': MANIFESTS });
    const [key = ''] = set.objects.keys();
    const accepted = set.objects.get(key);
    const outcome = {
      state: 'accepted',
      message: '',
      compiledTo: [],
      warnings: ['is probably not meant'],
    } as const;
    const found = reportWarnings(set, new Map([[key, outcome]]));
    assert.equal(found.length, 1);
    assert.equal(found[0]?.line, accepted?.line);
    assert.match(found[0]?.text ?? '', /^shop\.yaml:\d+: .*is probably not meant$/);
  });
});
