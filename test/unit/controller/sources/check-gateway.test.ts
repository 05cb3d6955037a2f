import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { readManifest } from '../../../../controller/sources/read-object.ts';

const LISTENER = '{name: mesh, port: 15008, protocol: HBONE}';

function problemsOf(spec: string, options: { kind?: string; meta?: string; name?: string } = {}): string[] {
  const { kind = 'Gateway', meta = '', name = 'w' } = options;
  const yaml = `apiVersion: gateway.networking.k8s.io/v1\nkind: ${kind}\nmetadata: {name: ${name}${meta}}\nspec: ${spec}\n`;
  const [document] = readManifest('g.yaml', yaml);
  if (document?.type !== 'bad') return [];
  return document.problems.map(({ field = '', message, allowed = '' }) => `${field}: ${message}; ${allowed}`);
}

const ours = (listeners: string, more = ''): string =>
  `{gatewayClassName: loam-waypoint, listeners: [${listeners}]${more}}`;
const annotated = (key: string, value: string): { meta: string } => ({
  meta: `, annotations: {${key}: "${value}"}`,
});

describe('checks of Gateways', () => {
  const refused: [string, string[], RegExp][] = [
    [
      'an ingress',
      problemsOf(ours('{name: a, port: 80, protocol: HTTP}')),
      /listeners\[0\]\.protocol: .*HBONE.*no ingress/,
    ],
    [
      'another port',
      problemsOf(ours('{name: a, port: 15009, protocol: HBONE}')),
      /listeners\[0\]\.port: .*15008/,
    ],
    [
      'two listeners',
      problemsOf(ours(`${LISTENER}, {name: b, port: 15008, protocol: HBONE}`)),
      /one listener/,
    ],
    ['no listener', problemsOf(ours('')), /listeners: must not be empty/],
    [
      'a hostname',
      problemsOf(ours('{name: a, port: 15008, protocol: HBONE, hostname: a.b}')),
      /listeners\[0\]\.hostname/,
    ],
    [
      'addresses',
      problemsOf(ours(LISTENER, ', addresses: [{value: 10.0.0.1}]')),
      /spec\.addresses: a waypoint has no/,
    ],
    ['a name that is no DNS label', problemsOf(ours(LISTENER), { name: 'a.b' }), /metadata\.name/],
    [
      'a selector of namespaces',
      problemsOf(
        ours('{name: a, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: Selector}}}'),
      ),
      /from: .*Same, All, None/,
    ],
    [
      'whose traffic',
      problemsOf(ours(LISTENER), { meta: ', labels: {loam.dev/waypoint-for: services}' }),
      /waypoint-for.*service, workload, all, none/,
    ],
    [
      'an endpoint by https',
      problemsOf(ours(LISTENER), annotated('loam.dev/otlp-endpoint', 'https://a:1')),
      /otlp-endpoint.*http:/,
    ],
    [
      'an endpoint without port',
      problemsOf(ours(LISTENER), annotated('loam.dev/otlp-endpoint', 'http://a')),
      /otlp-endpoint/,
    ],
    [
      'a share above 1',
      problemsOf(ours(LISTENER), annotated('loam.dev/trace-sampling', '10')),
      /trace-sampling.*0 to 1/,
    ],
    [
      'hops that are none',
      problemsOf(ours(LISTENER), annotated('loam.dev/trusted-hops', '-1')),
      /trusted-hops/,
    ],
    [
      'a misspelt annotation',
      problemsOf(ours(LISTENER), annotated('loam.dev/trace-samplin', '1')),
      /did you mean "loam\.dev\/trace-sampling"/,
    ],
    [
      'a class taken over',
      problemsOf('{controllerName: evil.example/x}', { kind: 'GatewayClass', name: 'loam-waypoint' }),
      /controllerName: .*loam\.dev\/waypoint/,
    ],
  ];
  for (const [what, problems, expected] of refused) {
    it(`refuse ${what}`, () => {
      assert(
        problems.some((problem) => expected.test(problem)),
        problems.join('\n') || 'accepted',
      );
    });
  }

  it('leave Gateways of other classes alone', () => {
    const spec =
      '{gatewayClassName: nginx, listeners: [{name: a, port: 443, protocol: HTTPS, hostname: a.b, tls: {mode: Terminate}}], infrastructure: {}}';
    assert.deepEqual(problemsOf(spec, { name: 'a.b' }), []);
    assert.deepEqual(
      problemsOf('{controllerName: nginx.org/x}', { kind: 'GatewayClass', name: 'nginx' }),
      [],
    );
  });

  it('accept a waypoint with all that it can be told', () => {
    const listener = '{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}';
    const { meta } = annotated('loam.dev/trace-sampling', '0.25');
    assert.deepEqual(
      problemsOf(ours(listener), { meta: `${meta}, labels: {loam.dev/waypoint-for: all}` }),
      [],
    );
  });
});
