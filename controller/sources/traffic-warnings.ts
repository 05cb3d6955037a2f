import { fallbackKey, fallbackProblem } from '../compile/waypoints/fallback.ts';
import { namespaceOf, objectKey, type ReferenceGrant, type TrafficPolicy } from '../model/objects.ts';
import { didYouMean } from '../../lib/did-you-mean.ts';
import { show } from '../schema/validate.ts';
import { namesOf } from './references.ts';
import type { AcceptedObject } from './source.ts';
import type { Doubt } from './warnings.ts';

const MAX_NAMES = 20;

/** Targets of a TrafficPolicy that do not exist, and a fallback that cannot be used. */
export function trafficWarnings(
  policy: TrafficPolicy,
  objects: ReadonlyMap<string, AcceptedObject>,
): Doubt[] {
  const namespace = namespaceOf(policy);
  const doubts = policy.spec.targetRefs.flatMap(({ kind, name }, i): Doubt[] => {
    if (objects.has(objectKey({ kind, namespace, name }))) return [];
    const message = `there is no ${kind} ${show(name)} in namespace ${namespace}`;
    return [
      {
        field: `spec.targetRefs[${i}].name`,
        value: show(name),
        ...guessed(message, kind, namespace, name, objects),
      },
    ];
  });
  return [...doubts, ...fallbackDoubts(policy, objects)];
}

function fallbackDoubts(policy: TrafficPolicy, objects: ReadonlyMap<string, AcceptedObject>): Doubt[] {
  const { fallback } = policy.spec;
  const key = fallbackKey(policy);
  if (fallback === undefined || key === undefined) return [];
  const grants = [...objects.values()].flatMap(({ object }): ReferenceGrant[] =>
    object.kind === 'ReferenceGrant' ? [object] : [],
  );
  const service = objects.get(`Service/${key}`)?.object;
  const isCarried = service?.kind === 'Service' && service.spec.type !== 'ExternalName';
  const problem = fallbackProblem(policy, {
    services: { get: () => (isCarried ? service : undefined) },
    grants,
  });
  if (problem === undefined) return [];
  const { field, reason } = problem;
  const message = `the fallback cannot be used: ${problem.message}`;
  const namespace = fallback.namespace ?? namespaceOf(policy);
  if (field === 'spec.fallback.port') {
    const ports = isCarried ? (service.spec.ports ?? []).map(({ port }) => port) : [];
    return [{ field, value: show(fallback.port), message, allowed: ports.join(', ') }];
  }
  // Without permission the names of another namespace are not told.
  if (reason === 'RefNotPermitted') return [{ field, value: show(namespace), message }];
  return [
    {
      field,
      value: show(fallback.service),
      ...guessed(message, 'Service', namespace, fallback.service, objects),
    },
  ];
}

function guessed(
  message: string,
  kind: string,
  namespace: string,
  name: string,
  objects: ReadonlyMap<string, AcceptedObject>,
): Pick<Doubt, 'message' | 'allowed'> {
  const names = namesOf(
    [...objects.values()].map(({ object }) => object),
    kind,
    namespace,
  );
  const guess = didYouMean(name, names);
  return {
    message: `${message}${guess === undefined ? '' : `; did you mean ${show(guess)}?`}`,
    ...(names.length === 0 ? {} : { allowed: names.slice(0, MAX_NAMES).join(', ') }),
  };
}
