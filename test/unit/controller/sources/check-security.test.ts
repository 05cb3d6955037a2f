import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import type { Problem } from '../../../../controller/sources/source.ts';

function read(kind: string, spec: string): readonly Problem[] {
  const [document] = readManifest(
    'f.yaml',
    `{apiVersion: security.istio.io/v1, kind: ${kind}, metadata: {name: p, namespace: n}, spec: ${spec}}`,
  );
  assert(document !== undefined);
  return document.type === 'bad' ? document.problems : [];
}
function refuses(kind: string, spec: string, field: string, message: RegExp): void {
  const [problem, ...more] = read(kind, spec);
  assert(problem !== undefined, `${spec} is refused`);
  assert.deepEqual(more, []);
  assert.equal(problem.field, field);
  assert.match(`${problem.message}; allowed: ${problem.allowed}`, message);
}

describe('checks of AuthorizationPolicy', () => {
  const rule = (text: string): string => `{rules: [${text}]}`;
  const operation = (text: string): string => rule(`{to: [{operation: {${text}}}]}`);
  const condition = (text: string): string => rule(`{when: [{${text}}]}`);
  const AT = 'spec.rules[0].to[0].operation';

  it('accept what a waypoint can enforce', () => {
    for (const spec of [
      '{action: AUDIT, rules: [{}]}',
      operation('paths: [/a, "/a/*", "*.html", "*", "/a/{*}/b/{**}"], notPaths: [/b]'),
      operation('methods: [GET, "P*", "*"], hosts: [a.example, "a.example:80", "*.b"]'),
      condition('key: "request.headers[x-a]", values: ["any thing, at all"]'),
      condition('key: "request.headers[:method]", values: [GET]'),
      condition('key: "request.auth.claims[a][b]", notValues: [c]'),
      condition('key: remote.ip, values: [10.0.0.0/8]'),
    ])
      assert.deepEqual(read('AuthorizationPolicy', spec), [], spec);
  });

  it('refuse CUSTOM by name', () => {
    refuses(
      'AuthorizationPolicy',
      '{action: CUSTOM}',
      'spec.action',
      /"CUSTOM" is not allowed.*ALLOW, DENY, AUDIT/,
    );
  });
  it('refuse paths that would be compared otherwise than meant', () => {
    refuses('AuthorizationPolicy', operation('paths: ["/{**}/a/{*}"]'), `${AT}.paths[0]`, /after "\{\*\*\}"/);
    for (const path of ['/a/*/b', 'a', '/a?b=1', '/a#b', '/a b'])
      refuses(
        'AuthorizationPolicy',
        operation(`notPaths: ["${path}"]`),
        `${AT}.notPaths[0]`,
        /allowed: an exact path/,
      );
  });
  it('refuse methods and hosts that are none', () => {
    refuses(
      'AuthorizationPolicy',
      operation('methods: ["G*T"]'),
      `${AT}.methods[0]`,
      /"G\*T" is not allowed/,
    );
    refuses('AuthorizationPolicy', operation('hosts: ["http://a"]'), `${AT}.hosts[0]`, /without scheme/);
  });
  it('refuse attributes that no waypoint has', () => {
    const at = 'spec.rules[0].when[0].key';
    for (const key of [
      'experimental.envoy.filters.a',
      'request.headers[]',
      'request.headers[:x]',
      'request.auth.claims[a',
    ])
      refuses('AuthorizationPolicy', condition(`key: "${key}", values: [b]`), at, /unknown attribute/);
    refuses(
      'AuthorizationPolicy',
      condition('key: remote.ip, values: [x]'),
      'spec.rules[0].when[0].values[0]',
      /CIDR/,
    );
  });
});

describe('checks of RequestAuthentication', () => {
  const KEY = '{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"}]}';
  const rule = (text: string): string => `{jwtRules: [{issuer: i, ${text}}]}`;
  const AT = 'spec.jwtRules[0]';
  const check = (spec: string, field: string, message: RegExp): void =>
    refuses('RequestAuthentication', spec, field, message);

  it('accept every field', () => {
    for (const spec of [
      'null',
      '{selector: {matchLabels: {a: b}}}',
      `{targetRefs: [{kind: Service, name: s, group: ""}], jwtRules: [{issuer: i, audiences: [a], jwks: '${KEY}',
        fromHeaders: [{name: x, prefix: "T "}], fromParams: [p], fromCookies: [c], outputPayloadToHeader: x-p,
        forwardOriginalToken: true, outputClaimToHeaders: [{header: x-c, claim: a.b}], timeout: 1500ms}]}`,
      rule('jwksUri: "http://keys.shop:80/jwks"'),
      rule('jwksUri: "file:///etc/loam/jwks/keys"'),
    ])
      assert.deepEqual(read('RequestAuthentication', spec), [], spec);
  });
  it('refuse fields that are not known', () => {
    check(rule('jwksUrl: "https://x"'), `${AT}.jwksUrl`, /unknown field "jwksUrl"; did you mean "jwksUri"/);
  });
  it('want keys from one place', () => {
    check(rule('audiences: [a]'), AT, /jwks or jwksUri is missing/);
    check(rule(`jwksUri: "https://x/y", jwks: '${KEY}'`), AT, /only one of/);
  });
  it('refuse URIs that cannot be asked, or would show a password', () => {
    for (const uri of ['x', 'ftp://a/b', 'http://', 'file://host/x', 'https://u:p@h/', 'https://h/#x'])
      check(rule(`jwksUri: "${uri}"`), `${AT}.jwksUri`, /is not allowed; allowed: http/);
  });
  it('refuse files that are not below the folder of keys', () => {
    for (const path of ['/etc/keys', '/etc/loam/jwks', '/etc/loam/jwks/../../shadow', '/etc/loam/jwks2/a'])
      check(rule(`jwksUri: "file://${path}"`), `${AT}.jwksUri`, /is not allowed; allowed: http/);
  });
  it('refuse hosts that only the waypoint can reach, in each of their spellings', () => {
    for (const host of [
      ...['127.0.0.1:15000', 'localhost', 'a.localhost.', '[::1]', '0x7f.1', '2130706433', '0', '[::]'],
      ...[
        '169.254.169.254',
        '[::ffff:169.254.169.254]',
        '[fe80::1]',
        '[fd00:ec2::254]',
        '[64:ff9b::a9fe:a9fe]',
      ],
    ])
      check(rule(`jwksUri: "http://${host}/x"`), `${AT}.jwksUri`, /no keys are fetched from/);
  });
  it('refuse broken key sets, and never repeat a private key', () => {
    for (const [text, message] of [
      ['{', /not JSON/],
      ['[]', /no list "keys"/],
      ['{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}', /no public key/],
      ['{"keys":[{"kty":"EC","d":"c2VjcmV0"}]}', /private key/],
    ] as const) {
      check(rule(`jwks: '${text}'`), `${AT}.jwks`, message);
      assert.doesNotMatch(JSON.stringify(read('RequestAuthentication', rule(`jwks: '${text}'`))), /c2VjcmV0/);
    }
  });
  it('refuse headers that frame a message', () => {
    check(
      rule('jwksUri: "https://x/y", outputPayloadToHeader: Content-Length'),
      `${AT}.outputPayloadToHeader`,
      /every header but/,
    );
  });
  it('refuse two ways to be attached', () => {
    check(
      '{selector: {matchLabels: {a: b}}, targetRef: {kind: Service, name: s}}',
      'spec',
      /only one of selector, targetRef and targetRefs/,
    );
  });
});
