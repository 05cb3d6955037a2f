import { create } from '@bufbuild/protobuf';
import {
  Action,
  type Authorization,
  AuthorizationSchema,
  type Rule,
  Scope,
} from '../../proto/gen/istio/security/authorization_pb.js';
import { hasSelector, labelsMatch } from '../model/labels.ts';
import {
  type AuthorizationPolicy,
  isService,
  type Labels,
  namespaceOf,
  type TargetRef,
} from '../model/objects.ts';
import { compileRule } from './policy-rules.ts';

/** Istio's annotation for "log what it would do". */
const DRY_RUN_ANNOTATION = 'istio.io/dry-run';

/** Which workloads a compiled policy is attached to by name; `scope` means that its scope says so. */
export type Attachment =
  | { readonly by: 'scope' }
  | { readonly by: 'labels'; readonly labels: Labels; readonly namespace: string | undefined }
  | { readonly by: 'services'; readonly namespace: string; readonly names: readonly string[] };

/** What a policy came to. `pending` says what it waits for, with nothing or something narrower in force till then. */
export interface CompiledPolicy {
  readonly authorization?: Authorization;
  readonly attachment: Attachment;
  readonly pending?: string;
  /** The fields that only a waypoint can see. */
  readonly l7Fields?: readonly string[];
  readonly message: string;
}

/** The name of a policy's resource, by which workloads refer to it. */
export function policyName(authorization: { namespace: string; name: string }): string {
  return `${authorization.namespace}/${authorization.name}`;
}

/** Whether a policy is on trial. */
export function isDryRun(policy: AuthorizationPolicy): boolean {
  return policy.metadata.annotations?.[DRY_RUN_ANNOTATION] === 'true';
}

/**
 * Compiles one policy for L4. Pure; the object has passed validation. What its targets have a waypoint for is enforced
 * there alone (./waypoints/authorization.ts); L4 keeps what is attached to pods, and to Services without a waypoint.
 *
 * @param hasWaypoint whether the Service `<namespace>/<name>` opts in to one
 */
export function compileAuthorization(
  policy: AuthorizationPolicy,
  rootNamespace: string,
  hasWaypoint: (service: string) => boolean,
): CompiledPolicy {
  const spec = policy.spec ?? {};
  const namespace = namespaceOf(policy);
  const targets = (spec.targetRefs ?? (spec.targetRef === undefined ? [] : [spec.targetRef])).filter(
    (target) => isService(target) && !hasWaypoint(`${namespace}/${target.name}`),
  );
  const attachment = attachmentOf(policy, targets, rootNamespace);
  if (attachment === undefined) return { attachment: { by: 'scope' }, message: '' };
  const action = spec.action ?? 'ALLOW';
  if (action === 'AUDIT') {
    const message = 'AUDIT is recorded by waypoints only: attach it to a Service that has one, by targetRefs';
    return { attachment: { by: 'scope' }, pending: 'waypoint', message };
  }
  const rules: Rule[] = [];
  const l7Fields: string[] = [];
  for (const [i, rule] of (spec.rules ?? []).entries()) {
    const compiled = compileRule(rule, action, namespace);
    if (compiled.rule !== undefined) rules.push(compiled.rule);
    l7Fields.push(...compiled.l7Fields.map((field) => `rules[${i}].${field}`));
  }
  const authorization = create(AuthorizationSchema, {
    name: policy.metadata.name,
    namespace,
    scope:
      attachment.by !== 'scope'
        ? Scope.WORKLOAD_SELECTOR
        : namespace === rootNamespace
          ? Scope.GLOBAL
          : Scope.NAMESPACE,
    action: action === 'DENY' ? Action.DENY : Action.ALLOW,
    rules,
    dryRun: isDryRun(policy),
  });
  const byService =
    attachment.by === 'services'
      ? `; ${waitsForWaypoint(targets)}; until then enforced at the pods behind it`
      : '';
  return {
    authorization,
    attachment,
    ...(byService === '' ? {} : { pending: 'waypoint' }),
    l7Fields,
    message: describe(authorization, spec.rules?.length ?? 0, l7Fields) + byService,
  };
}

/**
 * Undefined: nothing of the policy is for L4.
 *
 * @param targets the Services at whose pods it is enforced
 */
function attachmentOf(
  policy: AuthorizationPolicy,
  targets: readonly TargetRef[],
  rootNamespace: string,
): Attachment | undefined {
  const namespace = namespaceOf(policy);
  const selector = policy.spec?.selector;
  if (targets.length > 0) return { by: 'services', namespace, names: targets.map(({ name }) => name) };
  if (policy.spec?.targetRefs !== undefined || policy.spec?.targetRef !== undefined) return undefined;
  if (!hasSelector(selector)) return { by: 'scope' };
  // Istio: a policy of the root namespace with a selector covers the pods with these labels in every namespace.
  return {
    by: 'labels',
    labels: selector.matchLabels,
    namespace: namespace === rootNamespace ? undefined : namespace,
  };
}

function waitsForWaypoint(targets: readonly TargetRef[]): string {
  const names = targets.map(({ kind, name }) => `${kind} ${name}`).join(', ');
  return `waits for a waypoint (targetRefs: ${names})`;
}

/** True when a policy is attached to this pod by name. `services` are the names of the pod's Services. */
export function isAttached(
  attachment: Attachment,
  namespace: string,
  labels: Labels,
  services: ReadonlySet<string>,
): boolean {
  switch (attachment.by) {
    case 'scope':
      return false;
    case 'labels':
      return (
        (attachment.namespace === undefined || attachment.namespace === namespace) &&
        labelsMatch(attachment.labels, labels)
      );
    case 'services':
      return attachment.namespace === namespace && attachment.names.some((name) => services.has(name));
  }
}

/** Says what the compiled policy does, from the compiled rules and not from the source. */
function describe(authorization: Authorization, sourceRules: number, l7Fields: readonly string[]): string {
  const { rules, action } = authorization;
  const deny = action === Action.DENY;
  const verb = deny ? 'denies' : 'allows';
  const everything = rules.some(({ clauses }) => clauses.length === 0);
  const parts: string[] = [];
  if (rules.length === 0)
    parts.push(
      deny ? 'denies nothing' : 'allows nothing: every connection that no other policy allows is denied',
    );
  else if (everything) parts.push(`${verb} every connection`);
  else parts.push(`${verb} by ${rules.length} ${rules.length === 1 ? 'rule' : 'rules'}`);
  if (l7Fields.length > 0) {
    const effect = deny
      ? 'is treated as matching, so that more is denied than written'
      : `is treated as not matching, so that ${sourceRules - rules.length} of ${sourceRules} rules can never allow`;
    parts.push(`what only a waypoint can see ${effect}: ${l7Fields.join(', ')}`);
  }
  if (authorization.dryRun) parts.push('dry run: logged only');
  return parts.join('; ');
}
