import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { compileMesh, type CompiledMesh } from '../../../../../controller/compile/mesh.ts';
import { readManifest } from '../../../../../controller/sources/read-object.ts';
import type { PodTelemetry } from '../../../../../lib/mesh/egress/model.ts';
import { decodeEgress } from '../../../../../lib/mesh/egress/decode.ts';
import { decodeSide } from '../../../../../lib/mesh/telemetry/decode.ts';
import { compileExpression } from '../../../../../lib/mesh/telemetry/expression.ts';
import { ResourceSchema } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { ASSIGNMENTS, MANIFESTS } from '../../harness.ts';

const UID = 'Kubernetes//Pod/shop/payments-0';
const GATEWAY = `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: way, namespace: shop, annotations: {loam.dev/otlp-endpoint: "http://own:4318", loam.dev/trace-sampling: "0.5"}}, spec: {gatewayClassName: loam-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}`;
const SETTINGS =
  '{apiVersion: loam.dev/v1, kind: MeshSettings, metadata: {name: mesh}, spec: {telemetryProviders: [{name: otel, otlp: {endpoint: "http://otel:4318"}}]}}';

function compile(...yaml: readonly string[]): CompiledMesh {
  const text = [MANIFESTS, GATEWAY, SETTINGS, ...yaml].join('\n---\n');
  const objects = readManifest('test.yaml', text).map((document) => {
    assert(document.type === 'object', JSON.stringify(document));
    return document.object;
  });
  return compileMesh({
    objects,
    assignments: ASSIGNMENTS,
    clusterId: 'Kubernetes',
    trustDomain: 'cluster.local',
    rootNamespace: 'istio-system',
  });
}
function telemetry(name: string, spec: string): string {
  return `{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: ${name}, namespace: shop}, spec: ${spec}}`;
}
function atNode(mesh: CompiledMesh): PodTelemetry | undefined {
  const name = `telemetry/${UID}`;
  const found = mesh.egress.byNode.get('node-b')?.get(name);
  const decoded = found && decodeEgress(name, found.bytes);
  if (decoded === undefined) return undefined;
  assert(decoded.kind === 'telemetry');
  return decoded;
}
function atWaypoint(mesh: CompiledMesh) {
  const found = mesh.waypoints.get('shop/way')?.get('settings');
  assert(found !== undefined);
  const { kind } = fromBinary(ResourceSchema, found.bytes);
  assert(kind.case === 'settings');
  const { tracing, telemetry: side } = kind.value;
  return { endpoint: tracing?.otlpEndpoint, sampling: tracing?.sampling, side: side && decodeSide(side) };
}

describe('what nodes and waypoints are told of Telemetry', () => {
  it('is nothing where there is none', () => {
    const mesh = compile();
    assert.equal(atNode(mesh), undefined);
    assert.deepEqual(atWaypoint(mesh), { endpoint: 'http://own:4318', sampling: 0.5, side: undefined });
  });

  it('is the form and the filter of lines, as a tree that is evaluated', () => {
    const expression = '!(response.code in [404, 410]) && (request.size > 10 || has(request.id))';
    const mesh = compile(
      telemetry('t', `{accessLogging: [{providers: [{name: text}], filter: {expression: '${expression}'}}]}`),
    );
    const [rule, ...more] = atNode(mesh)?.server?.logs ?? [];
    assert.deepEqual(more, []);
    assert.equal(rule?.format, 'text');
    assert(rule.filter !== undefined);
    const says = compileExpression(rule.filter);
    assert.equal(
      says((name) => ({ 'response.code': 500, 'request.size': 11 })[name as 'request.size']),
      true,
    );
    assert.equal(
      says((name) => ({ 'response.code': 410, 'request.size': 11 })[name as 'request.size']),
      false,
    );
    assert.deepEqual(atWaypoint(mesh).side?.logs, [rule]);
    assert.equal(atWaypoint(mesh).endpoint, 'http://own:4318', 'of spans nothing is said');
  });

  it('is no line at all where it is off, and where spans go', () => {
    const mesh = compile(
      telemetry(
        't',
        '{accessLogging: [{disabled: true}], tracing: [{providers: [{name: otel}], randomSamplingPercentage: 100, customTags: {team: {literal: {value: a}}}}]}',
      ),
    );
    const tracing = { endpoint: 'http://otel:4318', sampling: 1, tags: { team: 'a' } };
    assert.deepEqual(atNode(mesh)?.client, { logs: [], tracing });
    const side = { logs: [], tracing };
    assert.deepEqual(atWaypoint(mesh), { endpoint: tracing.endpoint, sampling: 1, side });
  });

  it('is that a waypoint makes no spans, where they are off, whatever its Gateway says', () => {
    const mesh = compile(telemetry('t', '{tracing: [{disableSpanReporting: true}]}'));
    assert.equal(atWaypoint(mesh).endpoint, '');
    assert.equal(atNode(mesh), undefined);
  });
});
