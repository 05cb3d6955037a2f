import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { type CompiledMesh, compileMesh, type Outcome } from '../../../../../controller/compile/mesh.ts';
import type { Assignments } from '../../../../../controller/sources/assignments.ts';
import { readManifest } from '../../../../../controller/sources/read-object.ts';
import {
  type Authorization,
  AuthorizationSchema,
  Scope,
} from '../../../../../proto/gen/istio/security/authorization_pb.js';
import { AddressSchema, type Workload } from '../../../../../proto/gen/istio/workload/workload_pb.js';
import { type Resource, ResourceSchema } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';

/** Compiles manifests; pods and Gateways get addresses by themselves. */
export function meshOf(documents: readonly string[]): CompiledMesh {
  const objects = readManifest('test.yaml', documents.join('\n---\n')).map((document) => {
    assert(document.type === 'object', JSON.stringify(document));
    return document.object;
  });
  const named = (kind: string): string[] =>
    objects
      .filter((object) => object.kind === kind)
      .map(({ metadata }) => `${metadata.namespace ?? 'default'}/${metadata.name}`);
  const assignments: Assignments = {
    pods: Object.fromEntries(
      named('Pod').map((key, i) => [key, { ips: [`198.18.0.${i + 1}`], node: 'node-a', ready: true }]),
    ),
    services: Object.fromEntries(
      named('Service').map((key, i) => [key, { clusterIPs: [`198.19.0.${i + 1}`] }]),
    ),
    gateways: Object.fromEntries(
      named('Gateway').map((key, i) => [key, { clusterIPs: [`198.19.1.${i + 1}`], instances: [] }]),
    ),
  };
  return compileMesh({
    objects,
    assignments,
    clusterId: 'Kubernetes',
    trustDomain: 'cluster.local',
    rootNamespace: 'loam-system',
  });
}

export const namespace = (name: string, labels = ''): string =>
  `{apiVersion: v1, kind: Namespace, metadata: {name: ${name}, labels: {loam.dev/dataplane-mode: ambient${labels}}}}`;

export const gateway = (name: string, home = 'shop', from = 'All', labels = ''): string =>
  `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: ${name}, namespace: ${home}, labels: {${labels}}},
    spec: {gatewayClassName: loam-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: ${from}}}}]}}`;

/** @param use the Service's waypoint, if it has one of its own */
export const service = (name: string, app: string, ports: string, use?: string, more = ''): string =>
  `{apiVersion: v1, kind: Service, metadata: {name: ${name}, namespace: shop${use === undefined ? '' : `, labels: {loam.dev/use-waypoint: ${use}}`}},
    spec: {selector: {app: ${app}}, ports: [${ports}]${more}}}`;

export const pod = (name: string, app: string, labels = ''): string =>
  `{apiVersion: v1, kind: Pod, metadata: {name: ${name}, namespace: shop, labels: {app: ${app}${labels}}},
    spec: {nodeName: node-a, serviceAccountName: ${app}, containers: [{name: c, image: i, ports: [{name: web, containerPort: 8080}]}]}}`;

export const policy = (kind: string, name: string, spec: string, home = 'shop'): string =>
  `{apiVersion: security.istio.io/v1, kind: ${kind}, metadata: {name: ${name}, namespace: ${home}}, spec: ${spec}}`;

export function outcome(mesh: CompiledMesh, key: string): Outcome {
  const found = mesh.outcomes.get(key);
  assert(found !== undefined, key);
  return found;
}

export function workload(mesh: CompiledMesh, name: string): Workload {
  const bytes = mesh.addresses.get(`Kubernetes//Pod/shop/${name}`)?.bytes ?? new Uint8Array();
  const { type } = fromBinary(AddressSchema, bytes);
  assert(type.case === 'workload', name);
  return type.value;
}

/** The policies that a node applies to a pod of namespace shop. */
export function policiesOf(mesh: CompiledMesh, name: string): Authorization[] {
  const own = workload(mesh, name).authorizationPolicies;
  return [...mesh.authorizations.values()]
    .map(({ bytes }) => fromBinary(AuthorizationSchema, bytes))
    .filter(
      (each) =>
        own.includes(`${each.namespace}/${each.name}`) ||
        (each.scope !== Scope.WORKLOAD_SELECTOR && ['shop', 'loam-system'].includes(each.namespace)),
    );
}

export function waypointResource(mesh: CompiledMesh, waypoint: string, name: string): Resource['kind'] {
  const bytes = mesh.waypoints.get(waypoint)?.get(name)?.bytes;
  assert(bytes !== undefined, `${waypoint} has ${name}`);
  return fromBinary(ResourceSchema, bytes).kind;
}
