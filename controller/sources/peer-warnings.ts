import { type AuthorizationPolicy, namespaceOf, objectKey } from '../model/objects.ts';
import { didYouMean } from '../../lib/did-you-mean.ts';
import { show } from '../schema/validate.ts';
import { BUILT_IN_NAMESPACES, DEFAULT_ACCOUNT, namesOf } from './references.ts';
import type { AcceptedObject } from './source.ts';
import type { Doubt, WarningContext } from './warnings.ts';

const MAX_NAMES = 20;
/** How Istio writes an identity in a policy. */
const PRINCIPAL = /^([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/;

/** What a name is looked for in. */
export interface World {
  readonly objects: ReadonlyMap<string, AcceptedObject>;
  readonly context: WarningContext;
}

/** The peers that a policy names and that cannot exist: an ALLOW of them allows nobody, a DENY denies nobody. */
export function peerWarnings(
  policy: AuthorizationPolicy,
  objects: ReadonlyMap<string, AcceptedObject>,
  context: WarningContext,
): Doubt[] {
  const world: World = { objects, context };
  const doubts: Doubt[] = [];
  const each = (
    values: readonly string[] | undefined,
    field: string,
    check: (value: string, world: World) => Omit<Doubt, 'field' | 'value'> | undefined,
  ): void => {
    values?.forEach((value, i) => {
      const doubt = value.includes('*') ? undefined : check(value, world);
      if (doubt !== undefined) doubts.push({ field: `${field}[${i}]`, value: show(value), ...doubt });
    });
  };
  const checkAccount = (value: string): Omit<Doubt, 'field' | 'value'> | undefined => {
    const [name = '', namespace = namespaceOf(policy)] = value.split('/').reverse();
    return accountDoubt(namespace, name, world);
  };
  (policy.spec?.rules ?? []).forEach((rule, r) => {
    (rule.from ?? []).forEach(({ source }, f) => {
      const at = `spec.rules[${r}].from[${f}].source`;
      for (const field of ['principals', 'notPrincipals'] as const)
        each(source[field], `${at}.${field}`, principalDoubt);
      for (const field of ['serviceAccounts', 'notServiceAccounts'] as const)
        each(source[field], `${at}.${field}`, checkAccount);
      for (const field of ['namespaces', 'notNamespaces'] as const)
        each(source[field], `${at}.${field}`, namespaceDoubt);
    });
    (rule.when ?? []).forEach((condition, w) => {
      const check = WHEN_CHECKS.get(condition.key);
      if (check === undefined) return;
      for (const field of ['values', 'notValues'] as const)
        each(condition[field], `spec.rules[${r}].when[${w}].${field}`, check);
    });
  });
  return doubts;
}

const WHEN_CHECKS: ReadonlyMap<string, typeof principalDoubt> = new Map([
  ['source.principal', principalDoubt],
  ['source.namespace', namespaceDoubt],
]);

/** Why this names nobody; undefined when it names somebody. */
export function principalDoubt(principal: string, world: World): Omit<Doubt, 'field' | 'value'> | undefined {
  const { trustDomain } = world.context;
  const [, domain, namespace = '', name = ''] = PRINCIPAL.exec(principal) ?? [];
  if (domain === undefined) {
    return {
      message: `nobody has the identity ${show(principal)}`,
      allowed: `${trustDomain}/ns/<namespace>/sa/<service account>`,
    };
  }
  if (domain !== trustDomain)
    return { message: `${show(domain)} is not the trust domain of this mesh`, allowed: trustDomain };
  return accountDoubt(namespace, name, world);
}

/** Why this names nobody; undefined when it names somebody. */
export function accountDoubt(
  namespace: string,
  name: string,
  world: World,
): Omit<Doubt, 'field' | 'value'> | undefined {
  const wrong = namespaceDoubt(namespace, world);
  if (wrong !== undefined) return wrong;
  // Kubernetes makes this account in every namespace.
  if (name === DEFAULT_ACCOUNT || world.objects.has(objectKey({ kind: 'ServiceAccount', namespace, name })))
    return undefined;
  return missing('ServiceAccount', name, namespace, world);
}

/** Why this names nobody; undefined when it names somebody. */
export function namespaceDoubt(name: string, world: World): Omit<Doubt, 'field' | 'value'> | undefined {
  const isKnown =
    name === world.context.rootNamespace ||
    BUILT_IN_NAMESPACES.includes(name) ||
    world.objects.has(objectKey({ kind: 'Namespace', namespace: '', name }));
  return isKnown ? undefined : missing('Namespace', name, '', world);
}

function missing(
  kind: string,
  name: string,
  namespace: string,
  { objects }: World,
): Omit<Doubt, 'field' | 'value'> {
  const names = namesOf(
    [...objects.values()].map(({ object }) => object),
    kind,
    namespace,
  );
  const guess = didYouMean(name, names);
  const where = namespace === '' ? '' : ` in namespace ${namespace}`;
  return {
    message: `there is no ${kind} ${show(name)}${where}${guess === undefined ? '' : `; did you mean ${show(guess)}?`}`,
    ...(names.length === 0 ? {} : { allowed: names.slice(0, MAX_NAMES).join(', ') }),
  };
}
