import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'mocha';
import { InstallError } from '../../../../cli/install/errors.ts';
import { defaultValues, valuesOf, valuesOfFile, valuesOfSet } from '../../../../cli/install/values.ts';

/** The message of the InstallError that a function throws. */
function refusal(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    assert(error instanceof InstallError);
    assert.equal(error.code, 'INSTALL_INPUT');
    return error.message;
  }
  assert.fail('nothing was refused');
}

describe('values of an installation', () => {
  const folder = mkdtempSync(join(tmpdir(), 'loam-values-'));
  after(() => rmSync(folder, { recursive: true }));

  it('has defaults that its schema takes', () => {
    assert.deepEqual(valuesOf([]), defaultValues());
  });

  it('lays files and single values over the defaults, and replaces lists whole', () => {
    const file = join(folder, 'values.yaml');
    writeFileSync(file, 'ztunnel: {maxSurge: 25%}\ncontroller: {tolerations: [{key: a}]}\n');
    const sets = [
      'ztunnel.terminationGracePeriodSeconds=30',
      'controller.tolerations=[{key: b}]',
      'image=r/i:1',
    ];
    const values = valuesOf([valuesOfFile(file), ...sets.map(valuesOfSet)]);
    assert.equal(values.image, 'r/i:1');
    assert.equal(values.ztunnel.maxSurge, '25%');
    assert.equal(values.ztunnel.terminationGracePeriodSeconds, 30);
    assert.deepEqual(values.controller.tolerations, [{ key: 'b' }]);
    assert.equal(values.agent.maxUnavailable, 1);
  });

  it('takes a limit away by null', () => {
    assert.deepEqual(valuesOf([valuesOfSet('ztunnel.resources.limits=null')]).ztunnel.resources, {
      requests: { cpu: '100m', memory: '160Mi' },
    });
  });

  for (const [set, said] of [
    ['logLevel=loud', /logLevel: "loud"; allowed: debug, info, warn, error/],
    ['replicas=0', /replicas: 0 must be >= 1/],
    ['replicas=two', /replicas: "two" must be integer/],
    ['loglevel=info', /loglevel: there is no such value; there are .*logLevel/],
    ['ztunnel.surge=1', /ztunnel\.surge: there is no such value; there are maxSurge, /],
    ['ztunnel.maxSurge=0', /ztunnel\.maxSurge: 0 .*A number of nodes, or a share of them/],
    ['ztunnel.onDemand=sometimes', /ztunnel\.onDemand: "sometimes" must be boolean/],
    ['trustDomain=Corp', /trustDomain: "Corp" .*A DNS name in lower case/],
    ['agent.resources.limits.memory=lots', /agent\.resources\.limits\.memory: "lots"/],
    ['image=', /image: ""/],
    ['image', /--set "image" is not usable; allowed: KEY=VALUE/],
    ['controller.tolerations=[', /--set controller\.tolerations: the value is no YAML/],
  ] as const)
    it(`refuses ${set}, and says what is allowed`, () => {
      assert.match(
        refusal(() => valuesOf([valuesOfSet(set)])),
        said,
      );
    });

  it('refuses a file that is none, or holds no mapping', () => {
    assert.match(
      refusal(() => valuesOfFile(join(folder, 'none.yaml'))),
      /none\.yaml cannot be read/,
    );
    const file = join(folder, 'list.yaml');
    writeFileSync(file, '- a\n');
    assert.match(
      refusal(() => valuesOfFile(file)),
      /list\.yaml is no mapping/,
    );
  });
});
