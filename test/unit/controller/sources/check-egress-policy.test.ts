import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { accept } from '../../../../controller/sources/accept.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import type { Problem } from '../../../../controller/sources/source.ts';
import { MANIFESTS } from '../harness.ts';

const CONTEXT = { rootNamespace: 'loam-system', trustDomain: 'cluster.local' };
const policy = (spec: string, namespace = 'shop'): string =>
  `{apiVersion: loam.dev/v1, kind: EgressPolicy, metadata: {name: p, namespace: ${namespace}}, spec: ${spec}}`;

function problems(manifest: string): readonly Problem[] {
  const [document] = readManifest('f.yaml', manifest);
  assert(document !== undefined);
  return document.type === 'bad' ? document.problems : [];
}

describe('checks of EgressPolicy', () => {
  it('accept what the page describes', () => {
    for (const spec of [
      '{}',
      '{allow: []}',
      '{selector: {matchLabels: {}}, allow: [{ports: [{port: 1, endPort: 65535}]}]}',
      '{allow: [{cidrs: [{cidr: 10.1.2.3/8, except: [10.0.0.1, 10.128.0.0/9]}, {cidr: "::/0", except: ["fd00::/8"]}]}]}',
      '{allow: [{cidrs: [{cidr: "::ffff:10.0.0.0/104", except: [10.1.0.0/16]}]}]}',
      '{allow: [{principals: ["*", "cluster.local/ns/a/*"], serviceAccounts: [a, b/c]}]}',
    ])
      assert.deepEqual(problems(policy(spec)), [], spec);
  });

  const refused: readonly (readonly [string, string, RegExp])[] = [
    ['null', 'spec', /wrong type/],
    ['{allow: [{}]}', 'spec.allow[0]', /must not be empty/],
    ['{allow: null}', 'spec.allow', /wrong type/],
    ['{allow: [{services: []}]}', 'spec.allow[0].services', /must not be empty/],
    ['{allow: [{services: null, ports: [{port: 1}]}]}', 'spec.allow[0].services', /wrong type/],
    ['{allow: [{services: [{namespace: a}]}]}', 'spec.allow[0].services[0]', /missing field "name"/],
    ['{allow: [{service: [{name: a}]}]}', 'spec.allow[0].service', /did you mean "services"/],
    [
      '{allow: [{services: [{name: "a*"}]}]}',
      'spec.allow[0].services[0].name',
      /"a\*" is not allowed.*lower case/,
    ],
    ['{allow: [{namespaces: ["*"]}]}', 'spec.allow[0].namespaces[0]', /is not allowed/],
    ['{allow: [{cidrs: [{cidr: 10.0.0.0/33}]}]}', 'spec.allow[0].cidrs[0].cidr', /CIDR block/],
    ['{allow: [{cidrs: [{cidr: example.com}]}]}', 'spec.allow[0].cidrs[0].cidr', /CIDR block/],
    [
      '{allow: [{cidrs: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}]}]}',
      'spec.allow[0].cidrs[0].except[0]',
      /inside 10\.0\.0\.0\/8/,
    ],
    [
      '{allow: [{cidrs: [{cidr: 10.0.0.0/8, except: [10.0.0.0/7]}]}]}',
      'spec.allow[0].cidrs[0].except[0]',
      /inside/,
    ],
    [
      '{allow: [{cidrs: [{cidr: 0.0.0.0/0, except: ["fd00::/8"]}]}]}',
      'spec.allow[0].cidrs[0].except[0]',
      /inside/,
    ],
    ['{allow: [{ports: [{port: 0}]}]}', 'spec.allow[0].ports[0].port', />= 1/],
    ['{allow: [{ports: [{port: "80"}]}]}', 'spec.allow[0].ports[0].port', /wrong type.*integer/],
    [
      '{allow: [{ports: [{port: 90, endPort: 80}]}]}',
      'spec.allow[0].ports[0].endPort',
      /80 is not allowed.*from 90 to 65535/,
    ],
    ['{selector: {app: a}}', 'spec.selector.app', /unknown field/],
  ];
  for (const [spec, field, message] of refused) {
    it(`refuse ${spec}, naming field and what is allowed`, () => {
      const [first] = problems(policy(spec));
      assert.equal(first?.field, field);
      assert.match(`${first.message}; ${first.allowed}`, message);
    });
  }

  it('refuse MeshSettings of another name, and the label of a namespace elsewhere or with another value', () => {
    const settings = '{apiVersion: loam.dev/v1, kind: MeshSettings, metadata: {name: other}, spec: {}}';
    assert.equal(problems(settings)[0]?.field, 'metadata.name');
    assert.match(problems(settings)[0]?.allowed ?? '', /mesh/);
    const labelled = (kind: string, value: string, rest = '') =>
      `{apiVersion: v1, kind: ${kind}, metadata: {name: a, labels: {loam.dev/outbound-traffic-policy: ${value}}}${rest}}`;
    assert.deepEqual(problems(labelled('Namespace', 'registry-only')), []);
    assert.match(
      problems(labelled('Namespace', 'REGISTRY_ONLY'))[0]?.allowed ?? '',
      /allow-any, registry-only/,
    );
    const pod = labelled('Pod', 'allow-any', ', spec: {containers: [{name: a}]}');
    assert.match(problems(pod)[0]?.message ?? '', /on a Namespace alone/);
  });
});

describe('warnings of EgressPolicy', () => {
  function warnings(spec: string, namespace?: string): string[] {
    const documents = readManifest('m.yaml', `${MANIFESTS}\n---\n${policy(spec, namespace)}`);
    const { problems: found } = accept([{ file: 'm.yaml', documents }], new Map(), CONTEXT);
    assert(
      found.every(({ severity }) => severity === 'warning'),
      JSON.stringify(found),
    );
    return found.map(({ field, message }) => `${field ?? ''}: ${message}`);
  }

  it('says nothing of what exists', () => {
    const spec =
      '{selector: {matchLabels: {app: frontend}}, allow: [{services: [{name: payments}], ports: [{port: 79, endPort: 80}]}, {serviceAccounts: [payments, default], principals: [cluster.local/ns/shop/sa/payments, "*/sa/any"], namespaces: [shop]}]}';
    assert.deepEqual(warnings(spec), []);
    assert.deepEqual(warnings('{}', 'loam-system'), [], 'the whole mesh');
  });

  const cases: readonly (readonly [string, RegExp])[] = [
    [
      '{allow: [{services: [{name: paiments}]}]}',
      /^spec\.allow\[0\]\.services\[0\]\.name: there is no Service "paiments" in namespace shop; did you mean "payments"/,
    ],
    [
      '{allow: [{services: [{name: payments, namespace: shopp}]}]}',
      /there is no Namespace "shopp"; did you mean "shop"/,
    ],
    [
      '{allow: [{services: [{name: payments}], ports: [{port: 8080}]}]}',
      /Service shop\/payments has none of the ports/,
    ],
    ['{allow: [{serviceAccounts: [nobody]}]}', /serviceAccounts\[0\]: there is no ServiceAccount "nobody"/],
    ['{allow: [{principals: [other/ns/shop/sa/payments]}]}', /not the trust domain/],
    ['{allow: [{namespaces: [nowhere]}]}', /namespaces\[0\]: there is no Namespace/],
    ['{selector: {matchLabels: {app: front}}}', /spec\.selector: selects no Pod/],
  ];
  for (const [spec, message] of cases) {
    it(`warns of ${spec}`, () => {
      const found = warnings(spec);
      assert.equal(found.length, 1, JSON.stringify(found));
      assert.match(found[0] ?? '', message);
    });
  }
});
