import assert from 'node:assert/strict';
import { Ajv } from 'ajv';
import { describe, it } from 'mocha';
import { parse } from 'yaml';
import { SECURE_PREFIXES, TAKEN_HEADERS } from '../../../../controller/sources/check-traffic-policy.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import { FORMATS } from '../../../../controller/schema/formats.ts';
import { TRAFFIC_POLICY_SPEC } from '../../../../controller/schema/traffic-policy.ts';
import {
  assertDocumented,
  assertSameSchema,
  fieldsOf,
  readCrd,
  readPackageFile,
  sectionsOf,
  type SchemaNode,
} from './documented-schema.ts';
import { DEFAULTS, DURATIONS } from '../../../../controller/schema/traffic-policy-values.ts';

const ours = fieldsOf(TRAFFIC_POLICY_SPEC as SchemaNode);
const documented = sectionsOf('docs/traffic-policy.md', 'Fields');
const { crd, version, spec: crdSpec } = readCrd('deploy/crds/trafficpolicies.loam.dev.yaml');
const theirs = fieldsOf(crdSpec);

describe('TrafficPolicy: schema, page and CRD', () => {
  it('has the same fields in all three', () => {
    assert(ours.size > 60, 'the fields were not found');
    assert.deepEqual([...documented.keys()].sort(), [...ours.keys()].sort());
  });

  it('has the same types, bounds, words and required fields in schema and CRD', () => {
    assertSameSchema(TRAFFIC_POLICY_SPEC as SchemaNode, crdSpec);
  });

  it('takes in the CRD what the formats take, and refuses what they refuse', () => {
    const samples = [
      ...['1s', '1m30s', '1h1m1s1ms', '1.5s', '1', '-1s', '', '1d', '123456s', '1s1s1s1s1s'],
      ...['x-user', 'X_User', 'a b', 'a:b', 'ä', 'shop', 'Shop', 'shop.bank', '-shop', 'a'.repeat(64)],
    ];
    const checks = new Map(FORMATS.map((format) => [format.name, format.check]));
    let compared = 0;
    for (const [path, node] of ours) {
      const check = typeof node['format'] === 'string' ? checks.get(node['format']) : undefined;
      if (check === undefined) continue;
      const pattern = new RegExp(String(theirs.get(path)?.['pattern']));
      const max = Number(theirs.get(path)?.['maxLength']);
      // A duration that is too long for a timer is the business of the range.
      for (const sample of samples.filter((text) => text !== '123456s')) {
        assert.equal(pattern.test(sample) && sample.length <= max, check(sample), `${path}: ${sample}`);
        compared += 1;
      }
    }
    assert(compared > 300);
  });

  it('gives every duration its range, in the code, on the page and in the CRD', () => {
    const durations = [...ours].filter(([, node]) => node['format'] === 'gateway-duration');
    assert.deepEqual(durations.map(([path]) => path).sort(), Object.keys(DURATIONS).sort());
    for (const [path, { min, max, orNone }] of Object.entries(DURATIONS)) {
      const range = `${min} to ${max}${orNone ? ', or 0s for none' : ''}`;
      assert(documented.get(path)?.range.startsWith(range), `${path}: the page must say ${range}`);
      const [rule] = (theirs.get(path)?.['x-kubernetes-validations'] ?? []) as { rule: string }[];
      const within = `duration(self) >= duration('${min}') && duration(self) <= duration('${max}')`;
      assert.equal(rule?.rule, orNone ? `duration(self) == duration('0s') || (${within})` : within, path);
    }
  });

  it('states bounds and words on the page as they are', () => {
    assertDocumented(TRAFFIC_POLICY_SPEC as SchemaNode, documented);
  });

  it('states defaults on the page as the code has them', () => {
    const flat = new Map<string, unknown>();
    const walk = (value: unknown, path: string): void => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) flat.set(path, value);
      else for (const [key, item] of Object.entries(value)) walk(item, path === '' ? key : `${path}.${key}`);
    };
    walk(DEFAULTS, '');
    for (const [path, value] of flat) {
      const at = path.replace('rateLimit.rules', 'rateLimit.rules[]');
      const [, text] = /^`(.+)`$/.exec(documented.get(at)?.fallback ?? '') ?? [];
      assert.deepEqual(text === undefined ? undefined : parse(text), value, at);
    }
    assert(flat.size > 30);
  });

  it('has examples that its own schema takes', () => {
    const ajv = new Ajv({ strict: true });
    for (const { name, check } of FORMATS) ajv.addFormat(name, { type: 'string', validate: check });
    for (const [path, { example }] of documented) {
      const [[name, value] = []] = Object.entries(parse(example) as object) as [string, unknown][];
      assert.equal(name, path.slice(path.lastIndexOf('.') + 1), path);
      const validate = ajv.compile(ours.get(path) ?? false);
      assert(validate(value), `${path}: ${example}: ${ajv.errorsText(validate.errors)}`);
    }
  });

  it('has rules in the CRD that speak of fields that there are', () => {
    let checked = 0;
    const items = [...theirs].map(([path, { items }]) => [`${path}[]`, items] as const);
    for (const [path, node] of [['', crdSpec] as const, ...theirs, ...items]) {
      const { properties = {} } = node ?? {};
      for (const { rule } of (node?.['x-kubernetes-validations'] ?? []) as { rule: string }[]) {
        for (const [, name = ''] of rule.matchAll(/self\.([A-Za-z_]+)(?!\w*\()/g)) {
          assert(Object.hasOwn(properties, name), `${path}: ${name} in ${rule}`);
          checked += 1;
        }
      }
    }
    assert(checked > 40);
  });

  it('refuses the same names of sessions in the CRD as the controller does', () => {
    const rules = theirs.get('sessionPersistence')?.['x-kubernetes-validations'] as { rule: string }[];
    const patterns = rules.flatMap(({ rule }) => /matches\('\(\?i\)(.+)'\)/.exec(rule)?.slice(1) ?? []);
    assert.deepEqual(patterns, [TAKEN_HEADERS.source, SECURE_PREFIXES.source]);
  });

  it('describes every field in the CRD', () => {
    for (const [path, { description }] of theirs) assert((description ?? '').length > 10, path);
  });

  it('names the CRD by its plural and group, with status and columns', () => {
    assert.equal(crd.metadata.name, `${crd.spec.names.plural}.${crd.spec.group}`);
    assert.deepEqual(version.subresources, { status: {} });
    for (const { jsonPath } of version.additionalPrinterColumns)
      assert.match(jsonPath, /^\.(spec|status|metadata)\./);
  });

  it('uses no word that YAML 1.1 takes for a boolean', () => {
    const words = [...ours].flatMap(([path, node]) => [
      path.slice(path.lastIndexOf('.') + 1),
      ...((node['enum'] ?? node.items?.['enum'] ?? []) as string[]),
    ]);
    assert.deepEqual(
      words.filter((word) => /^(y|n|yes|no|on|off|true|false)$/i.test(word)),
      [],
    );
  });
});

describe('the example manifest of TrafficPolicy', () => {
  const documents = readManifest(
    'traffic-policy.yaml',
    readPackageFile('deploy/examples/traffic-policy.yaml'),
  );
  const objects = documents.map((document) => {
    assert(document.type === 'object', JSON.stringify(document));
    return document.object;
  });

  it('uses every field, apart from the other keys of a hash', () => {
    const used = new Set<string>();
    const walk = (value: unknown, path: string): void => {
      if (Array.isArray(value)) value.forEach((item) => walk(item, `${path}[]`));
      if (path !== '' && !path.endsWith('[]')) used.add(path);
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
      for (const [key, item] of Object.entries(value)) walk(item, path === '' ? key : `${path}.${key}`);
    };
    for (const object of objects) if (object.kind === 'TrafficPolicy') walk(object.spec, '');
    const unused = [...ours.keys()].filter((path) => !used.has(path));
    assert.deepEqual(
      unused.sort(),
      ['cookie', 'query', 'sourceIp'].map((key) => `loadBalancing.hash.${key}`),
    );
  });
});
