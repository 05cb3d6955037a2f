import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import { standInFor } from '../../../../controller/sources/stand-in.ts';
import type { Problem } from '../../../../controller/sources/source.ts';

function problemsOf(text: string): readonly Problem[] {
  const [document] = readManifest('f.yaml', text);
  assert(document !== undefined);
  return document.type === 'bad' ? document.problems : [];
}
function read(spec: string, version = 'v1'): readonly Problem[] {
  return problemsOf(
    `{apiVersion: telemetry.istio.io/${version}, kind: Telemetry, metadata: {name: t, namespace: n}, spec: ${spec}}`,
  );
}
function refuses(spec: string, field: string, message: RegExp): void {
  const [problem, ...more] = read(spec);
  assert(problem !== undefined, `${spec} is refused`);
  assert.deepEqual(more, []);
  assert.equal(problem.field, field);
  assert.match(`${problem.message}; value: ${problem.value}; allowed: ${problem.allowed}`, message);
}
const filter = (expression: string): string => `{accessLogging: [{filter: {expression: '${expression}'}}]}`;
const FILTER = 'spec.accessLogging[0].filter.expression';

describe('checks of Telemetry', () => {
  it('take what Istio documents', () => {
    for (const spec of [
      'null',
      '{}',
      '{accessLogging: [{providers: [{name: envoy}]}]}',
      '{selector: {matchLabels: {app: a}}, accessLogging: [{disabled: true}]}',
      '{targetRefs: [{kind: Service, name: s}, {group: gateway.networking.k8s.io, kind: Gateway, name: w}]}',
      filter('response.code >= 400'),
      filter('connection.mtls && request.url_path.contains("v1beta3")'),
      filter('!has(request.url_path) || !(request.url_path.startsWith("/health"))'),
      '{tracing: [{providers: [{name: otel}], randomSamplingPercentage: 10.5, disableSpanReporting: false}]}',
      '{tracing: [{match: {mode: SERVER}, customTags: {team: {literal: {value: blue}}}}]}',
      '{metrics: [{providers: [{name: prometheus}], overrides: [{tagOverrides: {a: {operation: REMOVE}}}]}]}',
    ]) {
      assert.deepEqual(read(spec), [], spec);
      assert.deepEqual(read(spec, 'v1alpha1'), [], spec);
    }
  });

  it('refuse an expression by what is wrong in it', () => {
    refuses(filter('response.code >='), FILTER, /is not CEL: /);
    refuses(
      filter('response.cod > 400'),
      FILTER,
      /did you mean "response.code"\?.*allowed: connection.mtls, /,
    );
    refuses(filter('request.headers["a"] == "b"'), FILTER, /is no attribute|is no operation/);
    refuses(filter('response.code == "404"'), FILTER, /"int and string" cannot be compared/);
    refuses(filter('response.code'), FILTER, /is of type int; .*allowed: a condition/);
    refuses(
      filter('[1, 2].exists(x, x == response.code)'),
      FILTER,
      /"all, exists, map, filter" cannot stand/,
    );
    refuses(filter('request.url_path.matches("(a+)+")'), FILTER, /"matches" is no operation/);
    refuses(filter('request.duration > duration("5 minutes")'), FILTER, /"5 minutes" is no duration/);
    const nested = (depth: number): string => `${'('.repeat(depth)}connection.mtls${')'.repeat(depth)}`;
    assert.deepEqual(read(filter(nested(16))), []);
    refuses(filter(nested(17)), FILTER, /nested too deep/);
    refuses(filter(`${'connection.mtls == ('.repeat(40)}`), FILTER, /nested too deep/);
    refuses(filter('(connection.mtls'), FILTER, /"\)" is missing/);
    refuses(filter('connection.mtls)'), FILTER, /"\)" closes nothing/);
    refuses(filter(`${'(true) || '.repeat(49)}true`), FILTER, /at most 48 pairs/);
    assert.deepEqual(read(filter('request.id == "(((((((((((((((((((("')), []);
    refuses(filter(`${'connection.mtls || '.repeat(50)}connection.mtl`), FILTER, /did you mean/);
    refuses(filter('a'.repeat(1025)), FILTER, /1024/);
  });

  it('refuse other values by field, value and what is allowed', () => {
    refuses('{acessLogging: []}', 'spec.acessLogging', /unknown field.*accessLogging/);
    refuses(
      '{tracing: [{randomSamplingPercentage: 101}]}',
      'spec.tracing[0].randomSamplingPercentage',
      /100/,
    );
    refuses(
      '{accessLogging: [{match: {mode: BOTH}}]}',
      'spec.accessLogging[0].match.mode',
      /CLIENT_AND_SERVER/,
    );
    refuses('{tracing: [{providers: [{name: a}, {name: b}]}]}', 'spec.tracing[0].providers', /one provider/);
    refuses(
      '{tracing: [{customTags: {user: {header: {name: x-user}}}}]}',
      'spec.tracing[0].customTags.user',
      /a tag is a literal.*header.*literal/,
    );
    refuses(
      '{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, name: s}]}',
      'spec',
      /only one of selector, targetRef and targetRefs/,
    );
    refuses('{targetRefs: [{kind: Pod, name: s}]}', 'spec.targetRefs[0].kind', /allowed: Service/);
  });
});

describe('providers of MeshSettings', () => {
  const settings = (spec: string): string =>
    `{apiVersion: loam.dev/v1, kind: MeshSettings, metadata: {name: mesh}, spec: ${spec}}`;
  const provider = (name: string, endpoint: string): string =>
    settings(`{telemetryProviders: [{name: ${name}, otlp: {endpoint: "${endpoint}"}}]}`);

  it('are taken and refused by their address and name', () => {
    for (const endpoint of [
      'http://otel.telemetry:4318',
      'grpc://otel.telemetry:4317',
      'grpc://[2001:db8::1]:4317/',
    ])
      assert.deepEqual(problemsOf(provider('otel', endpoint)), []);
    for (const [name, endpoint, message] of [
      ['otel', 'https://otel:4318', /is not allowed/],
      ['otel', 'http://user@otel:4318', /is not allowed/],
      ['otel', 'grpc://otel', /is not allowed/],
      ['otel', 'grpc://user@otel:4317', /is not allowed/],
      ['otel', 'grpc://otel:4317/path', /is not allowed/],
      // What gRPC's own reader of addresses throws at, and names that it takes for something else than a host.
      ['otel', 'grpc://10.0.0.256:4317', /is not allowed/],
      ['otel', 'grpc://otel%20collector:4317', /is not allowed/],
      ['otel', 'grpc://unix:4317', /is not allowed/],
      ['text', 'http://otel:4318', /"text" is built in/],
    ] as const)
      assert.match(problemsOf(provider(name, endpoint))[0]?.message ?? '', message);
  });

  it('close nothing where they are broken', () => {
    const broken = (spec: object): Readonly<Record<string, unknown>> => ({
      apiVersion: 'loam.dev/v1',
      kind: 'MeshSettings',
      metadata: { name: 'mesh' },
      spec,
    });
    const specOf = (spec: object): unknown => {
      const object = standInFor('MeshSettings', broken(spec))?.object;
      return object?.kind === 'MeshSettings' ? object.spec : undefined;
    };
    assert.deepEqual(specOf({ telemetryProviders: 3 }), {});
    assert.deepEqual(specOf({ telemetryProviders: 3, outboundTrafficPolicy: 'ALLOW_ANY' }), {
      outboundTrafficPolicy: 'ALLOW_ANY',
    });
    assert.deepEqual(specOf({ telemetryProviders: 3, outboundTrafficPolicy: 'ALLOW' }), {
      outboundTrafficPolicy: 'REGISTRY_ONLY',
    });
  });
});
