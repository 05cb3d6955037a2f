import {
  isService,
  type KubeObject,
  namespaceOf,
  type ObjectRef,
  objectKey,
  type TargetRef,
} from '../model/objects.ts';

/** Namespaces that every cluster has without a manifest. */
export const BUILT_IN_NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];
/** The account that Kubernetes makes in every namespace. */
export const DEFAULT_ACCOUNT = 'default';

/** What one object refers to and must be there, with the field that says so. */
export interface Reference {
  readonly field: string;
  readonly to: ObjectRef;
}

/**
 * The references of an object that do not exist without a manifest of their own. An API server vouches for namespaces and
 * accounts: nothing was admitted without them.
 */
export function referencesOf(
  object: KubeObject,
  { rootNamespace, platform }: { readonly rootNamespace: string; readonly platform?: 'kubernetes' },
): Reference[] {
  const found: Reference[] = [];
  const namespace = namespaceOf(object);
  const inCluster = platform === 'kubernetes';
  const isThere = inCluster || namespace === rootNamespace || BUILT_IN_NAMESPACES.includes(namespace);
  if (namespace !== '' && !isThere) {
    found.push({ field: 'metadata.namespace', to: { kind: 'Namespace', namespace: '', name: namespace } });
  }
  if (object.kind === 'Pod' && !inCluster) {
    const name = object.spec.serviceAccountName ?? DEFAULT_ACCOUNT;
    // Kubernetes makes the account "default" in every namespace.
    if (name !== DEFAULT_ACCOUNT) {
      found.push({ field: 'spec.serviceAccountName', to: { kind: 'ServiceAccount', namespace, name } });
    }
  }
  if (object.kind === 'AuthorizationPolicy' || object.kind === 'RequestAuthentication') {
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

/** Whether a reference is met by the objects at hand. */
export function isMet(reference: Reference, objects: { has(key: string): boolean }): boolean {
  return objects.has(objectKey(reference.to));
}
