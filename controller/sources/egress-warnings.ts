import { tcpPorts } from '../compile/services.ts';
import type { EgressPort, EgressRuleSpec } from '../model/egress-policy.ts';
import { type EgressPolicy, namespaceOf, objectKey } from '../model/objects.ts';
import { didYouMean } from '../../lib/did-you-mean.ts';
import { show } from '../schema/validate.ts';
import { accountDoubt, namespaceDoubt, principalDoubt, type World } from './peer-warnings.ts';
import { namesOf } from './references.ts';
import type { AcceptedObject } from './source.ts';
import type { Doubt, WarningContext } from './warnings.ts';

const MAX_NAMES = 20;
type Finding = Omit<Doubt, 'field' | 'value'> | undefined;

/** The destinations that an EgressPolicy names and that do not exist: naming them allows nothing. */
export function egressWarnings(
  policy: EgressPolicy,
  objects: ReadonlyMap<string, AcceptedObject>,
  context: WarningContext,
): Doubt[] {
  const world: World = { objects, context };
  const own = namespaceOf(policy);
  const doubts: Doubt[] = [];
  const note = (field: string, value: unknown, found: Finding): void => {
    if (found !== undefined) doubts.push({ field, value: show(value), ...found });
  };
  (policy.spec.allow ?? []).forEach((rule, r) => {
    const at = `spec.allow[${r}]`;
    (rule.services ?? []).forEach(({ name, namespace = own }, i) =>
      note(`${at}.services[${i}].name`, name, serviceDoubt(namespace, name, rule, world)),
    );
    (rule.serviceAccounts ?? []).forEach((value, i) => {
      const [name = '', namespace = own] = value.split('/').reverse();
      note(`${at}.serviceAccounts[${i}]`, value, accountDoubt(namespace, name, world));
    });
    (rule.principals ?? []).forEach((value, i) => {
      if (!value.includes('*')) note(`${at}.principals[${i}]`, value, principalDoubt(value, world));
    });
    (rule.namespaces ?? []).forEach((value, i) =>
      note(`${at}.namespaces[${i}]`, value, namespaceDoubt(value, world)),
    );
  });
  return doubts;
}

/** A Service that is not there, or that has none of the ports that the rule allows. */
function serviceDoubt(namespace: string, name: string, rule: EgressRuleSpec, world: World): Finding {
  const wrong = namespaceDoubt(namespace, world);
  if (wrong !== undefined) return wrong;
  const service = world.objects.get(objectKey({ kind: 'Service', namespace, name }))?.object;
  if (service?.kind !== 'Service') {
    const names = namesOf(
      [...world.objects.values()].map(({ object }) => object),
      'Service',
      namespace,
    );
    const guess = didYouMean(name, names);
    return {
      message: `there is no Service ${show(name)} in namespace ${namespace}${guess === undefined ? '' : `; did you mean ${show(guess)}?`}`,
      ...(names.length === 0 ? {} : { allowed: names.slice(0, MAX_NAMES).join(', ') }),
    };
  }
  const ports = tcpPorts(service).map(({ port }) => port);
  const { ports: wanted } = rule;
  if (wanted === undefined || ports.some((port) => wanted.some((range) => contains(range, port))))
    return undefined;
  return {
    message: `Service ${namespace}/${name} has none of the ports that the rule allows`,
    allowed: ports.join(', '),
  };
}

function contains({ port, endPort = port }: EgressPort, each: number): boolean {
  return each >= port && each <= endPort;
}
