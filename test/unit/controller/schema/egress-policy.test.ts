import assert from 'node:assert/strict';
import { Ajv } from 'ajv';
import { describe, it } from 'mocha';
import { parse } from 'yaml';
import { EGRESS_POLICY_SPEC, MESH_SETTINGS_SPEC } from '../../../../controller/schema/egress-policy.ts';
import { FORMATS } from '../../../../controller/schema/formats.ts';
import { DEFAULT_OUTBOUND } from '../../../../controller/compile/egress/settings.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import {
  assertDocumented,
  assertSameSchema,
  fieldsOf,
  readCrd,
  readPackageFile,
  sectionsOf,
  type SchemaNode,
} from './documented-schema.ts';

const PAGE = 'docs/egress-policy.md';
const KINDS = [
  { kind: 'EgressPolicy', spec: EGRESS_POLICY_SPEC, heading: 'Fields', file: 'egresspolicies' },
  { kind: 'MeshSettings', spec: MESH_SETTINGS_SPEC, heading: 'Fields of MeshSettings', file: 'meshsettings' },
] as const;
const CHECKS = new Map(FORMATS.map((format) => [format.name, format.check]));

for (const { kind, spec, heading, file } of KINDS) {
  const ours = spec as SchemaNode;
  const documented = sectionsOf(PAGE, heading);
  const { crd, version, spec: theirs } = readCrd(`deploy/crds/${file}.loam.dev.yaml`);

  describe(`${kind}: schema, page and CRD`, () => {
    it('has the same fields, types, bounds, words and required fields in schema and CRD', () => {
      assertSameSchema(ours, theirs);
    });

    it('has every field on the page, with its bounds and words', () => {
      assertDocumented(ours, documented);
    });

    it('has examples that its own schema takes', () => {
      const ajv = new Ajv({ strict: true });
      for (const { name, check } of FORMATS) ajv.addFormat(name, { type: 'string', validate: check });
      for (const [path, { example }] of documented) {
        const [[name, value] = []] = Object.entries(parse(example) as object) as [string, unknown][];
        assert.equal(name, path.slice(path.lastIndexOf('.') + 1), path);
        const validate = ajv.compile(fieldsOf(ours).get(path) ?? false);
        assert(validate(value), `${path}: ${example}: ${ajv.errorsText(validate.errors)}`);
      }
    });

    it('describes every field in the CRD, and names it by its plural and group', () => {
      for (const [path, { description }] of fieldsOf(theirs)) assert((description ?? '').length > 10, path);
      assert.equal(crd.metadata.name, `${crd.spec.names.plural}.${crd.spec.group}`);
      assert.equal(crd.spec.names.kind, kind);
      assert.deepEqual(version.subresources, { status: {} });
    });
  });
}

describe('EgressPolicy: formats', () => {
  it('takes in the CRD what the formats take, and refuses what they refuse', () => {
    const { spec } = readCrd('deploy/crds/egresspolicies.loam.dev.yaml');
    const theirs = fieldsOf(spec);
    const samples = [
      ...['shop', 'Shop', 'a b', '', '-a', 'a-', 'a.b', 'a/b', 'a/b/c', 'A/b', 'shop/a.b', 'a'.repeat(64)],
      ...['*', 'a*', '*a', 'a*b', '*a*', 'td/ns/a/sa/b', 'td/ns/a/sa/*', `${'b'.repeat(64)}/a`],
    ];
    let compared = 0;
    for (const [path, node] of fieldsOf(EGRESS_POLICY_SPEC as SchemaNode)) {
      const [mine, other] = [node.items ?? node, theirs.get(path)?.items ?? theirs.get(path)];
      const check = CHECKS.get(String(mine['format']));
      // Addresses are read by functions that the API server has.
      if (check === undefined || mine['format'] === 'ip-block') continue;
      const pattern = new RegExp(String(other?.['pattern']));
      for (const sample of samples) {
        const fits = pattern.test(sample) && sample.length <= Number(other?.['maxLength']);
        assert.equal(fits, check(sample), `${path}: ${JSON.stringify(sample)}`);
        compared += 1;
      }
    }
    assert(compared >= 5 * samples.length);
  });

  it('states the default of the mesh on the page as the code has it', () => {
    const section = sectionsOf(PAGE, 'Fields of MeshSettings').get('outboundTrafficPolicy');
    assert.equal(section?.fallback, `\`${DEFAULT_OUTBOUND}\``);
  });
});

describe('the example manifest of EgressPolicy', () => {
  it('uses every field', () => {
    const used = new Set<string>();
    const walk = (value: unknown, path: string): void => {
      if (Array.isArray(value)) value.forEach((item) => walk(item, `${path}[]`));
      if (path !== '' && !path.endsWith('[]')) used.add(path);
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
      for (const [key, item] of Object.entries(value)) walk(item, path === '' ? key : `${path}.${key}`);
    };
    const documents = readManifest(
      'egress-policy.yaml',
      readPackageFile('deploy/examples/egress-policy.yaml'),
    );
    for (const document of documents) {
      assert(document.type === 'object', JSON.stringify(document));
      if ('spec' in document.object) walk(document.object.spec, '');
    }
    for (const { spec } of KINDS)
      for (const path of fieldsOf(spec as SchemaNode).keys()) assert(used.has(path), path);
  });
});
