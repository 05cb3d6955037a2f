import {
  type AuthorizationPolicy,
  isService,
  type KubeObject,
  namespaceOf,
  type ObjectRef,
  objectKey,
  type RequestAuthentication,
  type TargetRef,
  type Telemetry,
} from '../model/objects.ts';

/** Namespaces that every cluster has without a manifest. */
export const BUILT_IN_NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];
/** The account that Kubernetes makes in every namespace. */
export const DEFAULT_ACCOUNT = 'default';

/** What one object refers to and must be there, with the field that says so. */
export interface Reference {
  readonly field: string;
  readonly to: ObjectRef;
  /** Whether the object is worth having without it: a policy that has another target is. */
  readonly spare?: boolean;
}

/**
 * The references of an object that do not exist without a manifest of their own. An API server vouches for namespaces and
 * accounts: nothing was admitted without them.
 */
export function referencesOf(
  object: KubeObject,
  {
    rootNamespace,
    platform,
    exists,
  }: {
    readonly rootNamespace: string;
    readonly platform?: 'kubernetes';
    readonly exists: (to: ObjectRef) => boolean;
  },
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
  if (
    object.kind === 'AuthorizationPolicy' ||
    object.kind === 'RequestAuthentication' ||
    object.kind === 'Telemetry'
  )
    found.push(...targetReferences(object, exists));
  return found;
}

/** Dropped for one target that is missing, a policy would open the others. */
function targetReferences(
  object: AuthorizationPolicy | RequestAuthentication | Telemetry,
  exists: (to: ObjectRef) => boolean,
): Reference[] {
  const { targetRef, targetRefs } = object.spec ?? {};
  const all: { field: string; target: TargetRef }[] = (targetRefs ?? []).map((target, i) => ({
    field: `spec.targetRefs[${i}].name`,
    target,
  }));
  if (targetRef !== undefined) all.push({ field: 'spec.targetRef.name', target: targetRef });
  const refOf = ({ name }: TargetRef): ObjectRef => ({
    kind: 'Service',
    namespace: namespaceOf(object),
    name,
  });
  const spare = all.some(({ target }) => !isService(target) || exists(refOf(target)));
  return all.flatMap(({ field, target }) => (isService(target) ? [{ field, to: refOf(target), spare }] : []));
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
