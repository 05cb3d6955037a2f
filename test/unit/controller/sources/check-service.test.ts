import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { readManifest } from '../../../../controller/sources/read-object.ts';

/** `field: message; allowed` of all that is wrong. */
function problemsOf(spec: string): string[] {
  const [document] = readManifest(
    'f.yaml',
    `apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: n}\nspec: {selector: {app: a}, ports: [{port: 80}], ${spec}}\n`,
  );
  assert(document !== undefined);
  if (document.type === 'object') return [];
  assert(document.type === 'bad');
  return document.problems.map(({ field, message, allowed }) => `${field}: ${message}; ${allowed ?? ''}`);
}

describe('sources/check-service: families', () => {
  for (const spec of [
    'ipFamilies: [IPv6]',
    'ipFamilies: [IPv6, IPv4], ipFamilyPolicy: RequireDualStack',
    'ipFamilyPolicy: PreferDualStack, clusterIP: "fd00::1"',
    'ipFamilyPolicy: SingleStack, clusterIP: "fd00::1", clusterIPs: ["fd00::1"], ipFamilies: [IPv6]',
    'clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, "fd00::1"], ipFamilies: [IPv4, IPv6]',
    'clusterIP: None, clusterIPs: [None], ipFamilies: [IPv4, IPv6]',
  ])
    it(`takes ${spec}`, () => assert.deepEqual(problemsOf(spec), []));

  for (const [spec, problem] of [
    ['ipFamilies: [IPv5]', /spec\.ipFamilies\[0\].*IPv4, IPv6/],
    ['ipFamilyPolicy: Dual', /spec\.ipFamilyPolicy.*SingleStack, PreferDualStack, RequireDualStack/],
    ['ipFamilies: [IPv6, IPv6]', /spec\.ipFamilies\[1\].*"IPv6" occurs twice/],
    ['ipFamilyPolicy: SingleStack, ipFamilies: [IPv4, IPv6]', /spec\.ipFamilyPolicy.*RequireDualStack/],
    ['ipFamilyPolicy: SingleStack, clusterIPs: [10.0.0.1, "fd00::1"]', /spec\.ipFamilyPolicy/],
    ['clusterIPs: [10.0.0.1, 10.0.0.2]', /spec\.clusterIPs\[1\].*"IPv4" occurs twice/],
    [
      'clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2]',
      /spec\.clusterIPs\[0\].*10\.0\.0\.1, as spec\.clusterIP says/,
    ],
    [
      'clusterIP: 10.0.0.1, ipFamilies: [IPv6]',
      /spec\.clusterIP: .*an IPv6 address, as spec\.ipFamilies\[0\] says/,
    ],
    ['clusterIPs: [None, "fd00::1"], clusterIP: None', /spec\.clusterIPs: .*"None" alone/],
    ['clusterIP: "fd00::1%eth0"', /spec\.clusterIP: .*IPv4 or IPv6 address/],
  ] as const)
    it(`refuses ${spec}`, () => assert.match(problemsOf(spec).join('\n'), problem));
});

describe('sources/checks: families of a pod of the local mesh', () => {
  const pod = (families: string) =>
    readManifest(
      'f.yaml',
      `apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {local.loam.dev/ip-families: "${families}"}}\nspec: {containers: [{name: c}]}\n`,
    )[0];

  it('are one or both, the primary first', () => {
    for (const families of ['IPv4', 'IPv6', 'IPv4,IPv6', 'IPv6,IPv4'])
      assert.equal(pod(families)?.type, 'object');
    const bad = pod('IPv6 only');
    assert(bad?.type === 'bad');
    const [problem] = bad.problems;
    assert.match(problem?.field ?? '', /local\.loam\.dev\/ip-families/);
    assert.match(problem?.value ?? '', /IPv6 only/);
    assert.match(problem?.allowed ?? '', /IPv6,IPv4/);
  });
});
