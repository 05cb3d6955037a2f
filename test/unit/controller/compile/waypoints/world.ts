import assert from 'node:assert/strict';
import { fromBinary, toJson } from '@bufbuild/protobuf';
import { compileMesh, type CompiledMesh, type Outcome } from '../../../../../controller/compile/mesh.ts';
import type { KubeObject } from '../../../../../controller/model/objects.ts';
import type { Assignments } from '../../../../../controller/sources/assignments.ts';
import { readManifest } from '../../../../../controller/sources/read-object.ts';
import { type Resource, ResourceSchema } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';

/** Reads manifests that must be right. */
export function objectsOf(yaml: string): KubeObject[] {
  return readManifest('test.yaml', yaml).map((document) => {
    assert(document.type === 'object', JSON.stringify(document));
    return document.object;
  });
}

export const NOTHING_ASSIGNED: Assignments = { pods: {}, services: {} };

export function compileObjects(
  objects: Iterable<KubeObject>,
  assignments: Assignments = NOTHING_ASSIGNED,
): CompiledMesh {
  return compileMesh({
    objects,
    assignments,
    clusterId: 'Kubernetes',
    trustDomain: 'cluster.local',
    rootNamespace: 'istio-system',
  });
}

export function namesOf(mesh: CompiledMesh, gateway = 'shop/waypoint'): string[] {
  return [...(mesh.waypoints.get(gateway)?.keys() ?? [])].sort();
}

export function resourceOf(mesh: CompiledMesh, name: string, gateway = 'shop/waypoint'): Resource['kind'] {
  const resource = mesh.waypoints.get(gateway)?.get(name);
  assert(resource !== undefined, `${gateway} has no ${name}, only ${namesOf(mesh, gateway).join(', ')}`);
  return fromBinary(ResourceSchema, resource.bytes).kind;
}

/** A resource as JSON, without what has its default. */
export function jsonOf(mesh: CompiledMesh, name: string, gateway = 'shop/waypoint'): unknown {
  const resource = mesh.waypoints.get(gateway)?.get(name);
  assert(resource !== undefined, `${gateway} has no ${name}, only ${namesOf(mesh, gateway).join(', ')}`);
  return toJson(ResourceSchema, fromBinary(ResourceSchema, resource.bytes));
}

export function outcomeOf(mesh: CompiledMesh, key: string): Outcome {
  const outcome = mesh.outcomes.get(key);
  assert(outcome !== undefined, key);
  return outcome;
}

/** `Accepted True Accepted` and the like, with the parent in front. */
export function conditionsOf(mesh: CompiledMesh, key: string): string[] {
  return (outcomeOf(mesh, key).conditions ?? []).map(({ parent = '', type, status, reason }) =>
    `${parent} ${type} ${status} ${reason}`.trim(),
  );
}

export const GATEWAY = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: loam-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;

export function serviceYaml(
  name: string,
  options: { namespace?: string; labels?: string; spec?: string } = {},
): string {
  const { namespace = 'shop', labels = '{}', spec = '{ports: [{name: http, port: 80}]}' } = options;
  return `
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ${namespace}, labels: ${labels}}
spec: ${spec}
`;
}

export function routeYaml(
  spec: string,
  options: { kind?: string; namespace?: string; name?: string; meta?: string } = {},
): string {
  const { kind = 'HTTPRoute', namespace = 'shop', name = 'r', meta = '' } = options;
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: {name: ${name}, namespace: ${namespace}${meta}}
spec: ${spec}
`;
}

/** Namespace shop behind its waypoint, with Services payments and payments-v2. */
export const SHOP = [
  `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {loam.dev/use-waypoint: waypoint}}
`,
  GATEWAY,
  serviceYaml('payments'),
  serviceYaml('payments-v2'),
].join('---');
