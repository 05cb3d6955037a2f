import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { readManifest } from '../../../../controller/sources/read-object.ts';

const PARENT = 'parentRefs: [{group: "", kind: Service, name: s}]';

function problemsOf(spec: string, kind: string): string[] {
  const yaml = `apiVersion: gateway.networking.k8s.io/v1\nkind: ${kind}\nmetadata: {name: r, namespace: n}\nspec: ${spec}\n`;
  const [document] = readManifest('r.yaml', yaml);
  if (document?.type !== 'bad') return [];
  return document.problems.map(({ field = '', message, allowed = '' }) => `${field}: ${message}; ${allowed}`);
}

const rule = (text: string): string => `{${PARENT}, rules: [${text}]}`;
const match = (text: string): string => rule(`{matches: [${text}]}`);
const filter = (text: string): string => rule(`{filters: [${text}]}`);
const path = (type: string, value: string): string => match(`{path: {type: ${type}, value: "${value}"}}`);
const ref = '{name: s, port: 80}';
const redirect = '{type: RequestRedirect, requestRedirect: {scheme: https}}';
const setHeader = (name: string): string =>
  `{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: ${name}, value: x}]}}`;

describe('checks of routes', () => {
  const refused: [string, string, RegExp, string?][] = [
    [
      'a parent that is a Gateway',
      '{parentRefs: [{name: g}]}',
      /parentRefs\[0\]\.kind: .*no ingress.*Service/,
    ],
    ['a parent of another kind', '{parentRefs: [{kind: Mesh, name: g}]}', /parentRefs\[0\]\.kind/],
    ['a Service without group', '{parentRefs: [{kind: Service, name: s}]}', /parentRefs\[0\]\.group: .*""/],
    [
      'a section of a Service',
      '{parentRefs: [{group: "", kind: Service, name: s, sectionName: a}]}',
      /parentRefs\[0\]\.sectionName/,
    ],
    [
      'a parent twice',
      '{parentRefs: [{group: "", kind: Service, name: s}, {group: "", kind: Service, name: s}]}',
      /parentRefs\[1\].*twice/,
    ],
    ['an address as hostname', `{${PARENT}, hostnames: [10.0.0.1]}`, /hostnames\[0\]/],
    ['a wildcard within a hostname', `{${PARENT}, hostnames: [a.*.b]}`, /hostnames\[0\]/],
    ['no rules', `{${PARENT}, rules: []}`, /spec\.rules: must not be empty/],
    ['17 rules', `{${PARENT}, rules: [${Array(17).fill('{}').join(', ')}]}`, /spec\.rules/],
    ['65 matches', match(Array(65).fill('{method: GET}').join(', ')), /rules\[0\]\.matches/],
    [
      'too many matches of all rules',
      `{${PARENT}, rules: [${Array(3)
        .fill(`{matches: [${Array(50).fill('{method: GET}').join(', ')}]}`)
        .join(', ')}]}`,
      /spec\.rules: too many matches.*128/,
    ],
    ['17 backends', rule(`{backendRefs: [${Array(17).fill(ref).join(', ')}]}`), /backendRefs/],
    ['two rules of a name', `{${PARENT}, rules: [{name: a}, {name: a}]}`, /rules\[1\].*twice/],
    ['a path without slash', path('Exact', 'a'), /path\.value: .*begins with "\/"/],
    ['a path with two slashes', path('PathPrefix', '/a//b'), /without "\/\/"/],
    ['a path with a dot element', path('Exact', '/a/./b'), /without "\/\.\/"/],
    ['a path that climbs', path('PathPrefix', '/a/..'), /does not end with "\/\.\."/],
    ['an encoded slash', path('Exact', '/a%2Fb'), /without "%2F"/],
    ['a query in a path', path('Exact', '/a?b'), /path\.value/],
    ['a broken regular expression', path('RegularExpression', '/a('), /path\.value: .*RE2/],
    ['a regular expression with look-ahead', path('RegularExpression', '/(?=a)'), /RE2/],
    [
      'a broken regular expression of a header',
      match('{headers: [{name: a, type: RegularExpression, value: "["}]}'),
      /headers\[0\]\.value: .*RE2/,
    ],
    ['a header twice', match('{headers: [{name: A, value: b}, {name: a, value: c}]}'), /headers\[1\].*twice/],
    ['a header name with a blank', match('{headers: [{name: "a b", value: c}]}'), /headers\[0\]\.name/],
    ['an unknown method', match('{method: FETCH}'), /method: .*GET/],
    ['a method in lower case', match('{method: get}'), /method/],
    ['a filter without its field', filter('{type: CORS}'), /filters\[0\]: cors is missing/],
    [
      'a filter with a field of another type',
      filter(`{type: CORS, cors: {}, urlRewrite: {hostname: a}}`),
      /filters\[0\]\.urlRewrite: does not belong/,
    ],
    ['an extension', filter('{type: ExtensionRef, extensionRef: {name: a}}'), /filters\[0\]/],
    ['a filter twice', filter(`${setHeader('a')}, ${setHeader('b')}`), /filters\[1\].*twice/],
    [
      'redirect and rewrite',
      filter(`${redirect}, {type: URLRewrite, urlRewrite: {hostname: a}}`),
      /exclude each other/,
    ],
    ['redirect and backend', rule(`{filters: [${redirect}], backendRefs: [${ref}]}`), /sends nothing/],
    [
      'a redirect at a backend',
      rule(`{backendRefs: [{name: s, port: 80, filters: [${redirect}]}]}`),
      /backendRefs\[0\]\.filters\[0\]\.type/,
    ],
    ['the Host header', filter(setHeader('Host')), /set\[0\]\.name: .*URLRewrite/],
    ['a header of the framing', filter(setHeader('Transfer-Encoding')), /set\[0\]\.name/],
    [
      'a header that injects another',
      filter(
        '{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: a, value: "b\\r\\nc: d"}]}}',
      ),
      /value: .*visible ASCII/,
    ],
    [
      'a prefix replaced where none is matched',
      rule(
        '{matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}',
      ),
      /PathPrefix/,
    ],
    [
      'a mirror of more than all',
      filter(
        '{type: RequestMirror, requestMirror: {backendRef: {name: s, port: 80}, fraction: {numerator: 3, denominator: 2}}}',
      ),
      /numerator/,
    ],
    [
      'a mirror with percent and fraction',
      filter(
        '{type: RequestMirror, requestMirror: {backendRef: {name: s, port: 80}, percent: 1, fraction: {numerator: 1}}}',
      ),
      /only one/,
    ],
    [
      'an unusual redirect',
      filter('{type: RequestRedirect, requestRedirect: {statusCode: 304}}'),
      /statusCode/,
    ],
    [
      'a star among origins',
      filter('{type: CORS, cors: {allowOrigins: ["*", "https://a.b"]}}'),
      /stands alone/,
    ],
    [
      'an origin with a path',
      filter('{type: CORS, cors: {allowOrigins: ["https://a.b/c"]}}'),
      /allowOrigins/,
    ],
    ['a backend without port', rule('{backendRefs: [{name: s}]}'), /backendRefs\[0\]: port is missing/],
    ['a negative weight', rule('{backendRefs: [{name: s, port: 80, weight: -1}]}'), /weight/],
    ['a duration of Go', rule('{timeouts: {request: 1.5s}}'), /timeouts\.request: .*1h30m/],
    ['a duration that no timer takes', rule('{timeouts: {request: 99999h}}'), /24 days/],
    [
      'an attempt longer than the request',
      rule('{timeouts: {request: 1s, backendRequest: 2s}}'),
      /at most 1s/,
    ],
    ['a status that is no error', rule('{retry: {codes: [200]}}'), /codes/],
    [
      'a permanent cookie without end',
      rule('{sessionPersistence: {cookieConfig: {lifetimeType: Permanent}}}'),
      /absoluteTimeout is missing/,
    ],
    ['a cookie of a header', rule('{sessionPersistence: {type: Header, cookieConfig: {}}}'), /no cookie/],
    ['an unknown field', rule('{timeout: 1s}'), /rules\[0\]\.timeout: .*did you mean "timeouts"/],
    ['a method of gRPC with a slash', match('{method: {service: a/b}}'), /service/, 'GRPCRoute'],
    ['a match of gRPC for nothing', match('{method: {}}'), /service or method is missing/, 'GRPCRoute'],
    ['a path in a GRPCRoute', match('{path: {value: /a}}'), /matches\[0\]\.path/, 'GRPCRoute'],
    ['a redirect in a GRPCRoute', filter(redirect), /filters\[0\]/, 'GRPCRoute'],
  ];
  for (const [what, spec, expected, kind = 'HTTPRoute'] of refused) {
    it(`refuse ${what}`, () => {
      const problems = problemsOf(spec, kind);
      assert(
        problems.some((problem) => expected.test(problem)),
        problems.join('\n') || 'accepted',
      );
    });
  }

  it('name the kinds of the standard that are not read', () => {
    const [document] = readManifest(
      'r.yaml',
      'apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {name: r}\nspec: {}\n',
    );
    assert(document?.type === 'bad', JSON.stringify(document));
    assert.match(document.problems[0]?.message ?? '', /does not support TCPRoute/);
  });

  it('accept what the standard allows', () => {
    const spec = `{${PARENT}, hostnames: ["*.a.b", c], rules: [{name: x, matches: [{path: {type: RegularExpression, value: "/v[12]/.*"}}],
      filters: [{type: RequestMirror, requestMirror: {backendRef: ${ref}}}, {type: RequestMirror, requestMirror: {backendRef: ${ref}, percent: 10}}],
      timeouts: {request: 10s, backendRequest: 2s}, retry: {codes: [503], attempts: 2, backoff: 10ms}, backendRefs: [${ref}]}]}`;
    assert.deepEqual(problemsOf(spec, 'HTTPRoute'), []);
  });
});
