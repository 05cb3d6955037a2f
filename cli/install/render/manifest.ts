import type { V1ObjectMeta } from '@kubernetes/client-node';
import type { Values } from '../values.ts';

/** A Kubernetes object that an installation consists of. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

/** What the objects are made of. */
export interface Installation {
  readonly namespace: string;
  readonly values: Values;
}

export type Component = 'controller' | 'agent' | 'ztunnel' | 'waypoint';

/** The GatewayClass of waypoints. */
export const WAYPOINT_CLASS = 'loam-waypoint';

/** Each object of an installation has it: by it they are found again. */
export const PART_OF = { 'app.kubernetes.io/part-of': 'loam' } as const;

/** The name of a program's workload, Service, and ServiceAccount. */
export function nameOf(component: Component): string {
  return `loam-${component}`;
}

/** What Deployments, DaemonSets and Services select their pods by. */
export function selectorOf(component: Component): { 'app.kubernetes.io/name': string } {
  return { 'app.kubernetes.io/name': nameOf(component) };
}

export function labelsOf(component: Component): Record<string, string> {
  return { ...selectorOf(component), ...PART_OF };
}

/** Metadata of an object in the installation's namespace, named as its program unless otherwise said. */
export function meta(
  component: Component,
  namespace: string,
  name = nameOf(component),
): Required<Pick<V1ObjectMeta, 'name' | 'namespace' | 'labels'>> {
  return { name, namespace, labels: labelsOf(component) };
}

/** Metadata of an object that belongs to no namespace. */
export function clusterMeta(
  component: Component,
  name = nameOf(component),
): Required<Pick<V1ObjectMeta, 'name' | 'labels'>> {
  return { name, labels: labelsOf(component) };
}

/**
 * Labels of our own pods: they are never enrolled, whatever their namespace says. ztunnel must reach what it tunnels, and the
 * controller is reached before there is a mesh.
 */
export function podLabels(component: Component): Record<string, string> {
  return { ...labelsOf(component), 'loam.dev/dataplane-mode': 'none' };
}

/** Metadata of an object in the installation's namespace that is no program's. */
export function partMeta(
  namespace: string,
  name: string,
): Required<Pick<V1ObjectMeta, 'name' | 'namespace' | 'labels'>> {
  return { name, namespace, labels: { ...PART_OF } };
}
