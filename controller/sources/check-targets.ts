import { hasSelector } from '../model/labels.ts';
import {
  type AuthorizationPolicy,
  namespaceOf,
  type RequestAuthentication,
  type TargetRef,
  type Telemetry,
} from '../model/objects.ts';
import { type FieldProblem, show } from '../schema/validate.ts';
import { notAllowed, type Path, problem } from './check-helpers.ts';

/** What a policy can be attached to (Istio: PolicyTargetReference): kinds by group. */
const TARGETS: ReadonlyMap<string, readonly string[]> = new Map([
  ['', ['Service']],
  ['core', ['Service']],
  ['gateway.networking.k8s.io', ['Gateway', 'GatewayClass']],
  ['networking.istio.io', ['ServiceEntry']],
]);

type Policy = AuthorizationPolicy | RequestAuthentication | Telemetry;

/** What is wrong with a policy's selector and targets. */
export function checkAttachment(policy: Policy): FieldProblem[] {
  const spec = policy.spec ?? {};
  const found: FieldProblem[] = [];
  const targets = [spec.targetRef, spec.targetRefs].filter((t) => t !== undefined).length;
  if (targets + (hasSelector(spec.selector) ? 1 : 0) > 1) {
    found.push(problem(['spec'], 'only one of selector, targetRef and targetRefs may be set'));
  }
  if (spec.targetRef !== undefined) found.push(...checkTarget(policy, spec.targetRef, ['spec', 'targetRef']));
  (spec.targetRefs ?? []).forEach((target, t) => {
    found.push(...checkTarget(policy, target, ['spec', 'targetRefs', t]));
  });
  return found;
}

function checkTarget(policy: Policy, target: TargetRef, path: Path): FieldProblem[] {
  const { group = '', kind, namespace } = target;
  const kinds = TARGETS.get(group);
  if (kinds === undefined) {
    const groups = [...TARGETS.keys()].map(show).join(', ');
    return [notAllowed([...path, 'group'], group, groups)];
  }
  if (!kinds.includes(kind))
    return [
      problem(
        [...path, 'kind'],
        `${show(kind)} is not allowed in group ${show(group)}`,
        kind,
        kinds.join(', '),
      ),
    ];
  if (namespace !== undefined && namespace !== '' && namespace !== namespaceOf(policy))
    return [
      problem(
        [...path, 'namespace'],
        'a policy can be attached only to what is in its own namespace',
        namespace,
        namespaceOf(policy),
      ),
    ];
  return [];
}
