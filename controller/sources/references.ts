import { hasSelector, labelsMatch } from '../model/labels.ts';
import {
  isService,
  type KubeObject,
  namespaceOf,
  type ObjectRef,
  objectKey,
  refOf,
  type TargetRef,
} from '../model/objects.ts';
import type { AcceptedObject, Problem } from './source.ts';

/** Namespaces that every cluster has without a manifest. */
const BUILT_IN_NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];
const DEFAULT_ACCOUNT = 'default';

/** What one object refers to and must be there, with the field that says so. */
export interface Reference {
  readonly field: string;
  readonly to: ObjectRef;
}

/** The references of an object that do not exist without a manifest of their own. */
export function referencesOf(object: KubeObject, rootNamespace: string): Reference[] {
  const found: Reference[] = [];
  const namespace = namespaceOf(object);
  if (namespace !== '' && namespace !== rootNamespace && !BUILT_IN_NAMESPACES.includes(namespace)) {
    found.push({ field: 'metadata.namespace', to: { kind: 'Namespace', namespace: '', name: namespace } });
  }
  if (object.kind === 'Pod') {
    const name = object.spec.serviceAccountName ?? DEFAULT_ACCOUNT;
    // Kubernetes makes the account "default" in every namespace.
    if (name !== DEFAULT_ACCOUNT) {
      found.push({ field: 'spec.serviceAccountName', to: { kind: 'ServiceAccount', namespace, name } });
    }
  }
  if (object.kind === 'AuthorizationPolicy') {
    const { targetRef, targetRefs } = object.spec ?? {};
    const at = (target: TargetRef, field: string): void => {
      if (isService(target))
        found.push({ field: `${field}.name`, to: { kind: 'Service', namespace, name: target.name } });
    };
    if (targetRef !== undefined) at(targetRef, 'spec.targetRef');
    (targetRefs ?? []).forEach((target, i) => at(target, `spec.targetRefs[${i}]`));
  }
  return found;
}

/** The names of a kind in a namespace that do exist, for "allowed". */
export function namesOf(objects: Iterable<KubeObject>, kind: string, namespace: string): string[] {
  const names: string[] = [];
  for (const object of objects) {
    if (object.kind === kind && namespaceOf(object) === namespace) names.push(object.metadata.name);
  }
  return names.sort();
}

/** Selectors that select nothing: legal, and almost always a typing error. */
export function selectorWarnings(
  objects: ReadonlyMap<string, AcceptedObject>,
  rootNamespace: string,
): Problem[] {
  const pods: KubeObject[] = [];
  for (const { object } of objects.values()) if (object.kind === 'Pod') pods.push(object);
  const matches = (labels: Readonly<Record<string, string>>, namespace: string | undefined): boolean =>
    pods.some(
      (pod) =>
        (namespace === undefined || namespaceOf(pod) === namespace) &&
        labelsMatch(labels, pod.metadata.labels),
    );
  const warnings: Problem[] = [];
  for (const { object, file, line } of objects.values()) {
    const namespace = namespaceOf(object);
    const warn = (field: string, message: string): void => {
      warnings.push({
        severity: 'warning',
        file,
        ...(line === undefined ? {} : { line }),
        object: refOf(object),
        field,
        message,
      });
    };
    if (object.kind === 'Service') {
      const { selector } = object.spec;
      if (selector !== undefined && Object.keys(selector).length > 0 && !matches(selector, namespace)) {
        warn('spec.selector', `no Pod of namespace ${namespace} has these labels`);
      }
    } else if (object.kind === 'AuthorizationPolicy' || object.kind === 'PeerAuthentication') {
      const selector = object.spec?.selector;
      const everywhere = object.kind === 'AuthorizationPolicy' && namespace === rootNamespace;
      if (hasSelector(selector) && !matches(selector.matchLabels, everywhere ? undefined : namespace)) {
        warn(
          'spec.selector',
          everywhere ? 'no Pod has these labels' : `no Pod of namespace ${namespace} has these labels`,
        );
      }
    }
  }
  return warnings;
}

/** Whether a reference is met by the objects at hand. */
export function isMet(reference: Reference, objects: { has(key: string): boolean }): boolean {
  return objects.has(objectKey(reference.to));
}
