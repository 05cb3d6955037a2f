import { create, toBinary } from '@bufbuild/protobuf';
import {
  type Policy,
  type Resource,
  ResourceSchema,
  UnknownDestinations,
} from '../../../proto/gen/loam/egress/v1/egress_pb.js';
import {
  type EgressPolicy,
  type KubeObject,
  namespaceOf,
  objectKey,
  type Pod,
  refOf,
} from '../../model/objects.ts';
import { type Attachment, isAttached } from '../authorization.ts';
import type { Objects } from '../group.ts';
import type { Outcomes } from '../outcomes.ts';
import type { CompiledResource } from '../resources.ts';
import { compileEgressPolicy, describeRules, egressAttachment } from './policy.ts';
import { outboundOfMesh, outboundOfNamespace } from './settings.ts';

/** A pod that runs on a node. */
export interface PlacedPod {
  readonly pod: Pod;
  readonly uid: string;
  readonly node: string;
  readonly inMesh: boolean;
}

export interface EgressPlan {
  /** What each node gets: its own pods, and the policies that select them. */
  readonly byNode: ReadonlyMap<string, ReadonlyMap<string, CompiledResource>>;
  /** By objectKey of an EgressPolicy, or of what sets registry-only: the nodes whose proxies must enforce it. */
  readonly enforcers: ReadonlyMap<string, ReadonlySet<string>>;
}

export const NO_EGRESS: EgressPlan = { byNode: new Map(), enforcers: new Map() };

/** So many names a message lists. */
const MAX_NAMES = 5;

interface Planned {
  readonly object: EgressPolicy;
  readonly key: string;
  readonly policy: Policy;
  readonly attachment: Attachment;
  readonly inside: Pod[];
  readonly outside: Pod[];
}

/**
 * Compiles who may call what. Every pod of a node has a resource, so that a node never takes one of which it has not
 * been told for one that nothing restricts. Pure: equal input gives equal bytes.
 *
 * @param pods those that run somewhere, without those in their node's own network
 */
export function compileEgress(
  objects: Objects,
  pods: readonly PlacedPod[],
  rootNamespace: string,
  outcomes: Outcomes,
): EgressPlan {
  const planned = objects.egressPolicies.map((object): Planned => {
    const policy = compileEgressPolicy(object);
    const key = `${policy.namespace}/${policy.name}`;
    return {
      object,
      key,
      policy,
      attachment: egressAttachment(object, rootNamespace),
      inside: [],
      outside: [],
    };
  });
  const byNode = new Map<string, Map<string, CompiledResource>>();
  const enforcers = new Map<string, Set<string>>();
  const enforce = (object: KubeObject, node: string): void => {
    const key = objectKey(refOf(object));
    enforcers.set(key, (enforcers.get(key) ?? new Set()).add(node));
  };
  const [settings] = objects.meshSettings;
  for (const { pod, uid, node, inMesh } of pods) {
    const resources = byNode.get(node) ?? new Map<string, CompiledResource>();
    byNode.set(node, resources);
    const selecting = planned.filter(({ attachment }) =>
      isAttached(attachment, namespaceOf(pod), pod.metadata.labels ?? {}, new Set()),
    );
    for (const { object, key, policy, inside, outside } of selecting) {
      (inMesh ? inside : outside).push(pod);
      if (inMesh) enforce(object, node);
      add(resources, `policy/${key}`, { kind: { case: 'policy', value: policy } });
    }
    const namespace = objects.namespaces.get(namespaceOf(pod));
    const own = outboundOfNamespace(namespace);
    const refuses = (own ?? outboundOfMesh(settings)) === 'REGISTRY_ONLY';
    const by = own === undefined ? settings : namespace;
    if (refuses && inMesh && by !== undefined) enforce(by, node);
    add(resources, `workload/${uid}`, {
      kind: {
        case: 'workload',
        value: {
          $typeName: 'loam.egress.v1.Workload',
          uid,
          policies: selecting.map(({ key }) => key).sort(),
          unknownDestinations: refuses ? UnknownDestinations.REFUSE : UnknownDestinations.ALLOW,
        },
      },
    });
  }
  for (const each of planned) report(each, outcomes);
  if (settings !== undefined) {
    const refuses = outboundOfMesh(settings) === 'REGISTRY_ONLY';
    const message = `destinations that the mesh does not know are ${refuses ? 'refused' : 'reached'}`;
    outcomes.add(settings, { message });
  }
  return { byNode, enforcers };
}

function add(
  resources: Map<string, CompiledResource>,
  name: string,
  resource: { kind: Resource['kind'] },
): void {
  if (resources.has(name)) return;
  const bytes = toBinary(ResourceSchema, create(ResourceSchema, resource));
  resources.set(name, { name, bytes, aliases: [], members: [] });
}

function report({ object, key, policy, inside, outside }: Planned, outcomes: Outcomes): void {
  const isNone = inside.length + outside.length === 0;
  const selects = isNone
    ? 'selects no pod that runs'
    : `selects ${namesText(inside) || 'no pod of the mesh'}`;
  outcomes.add(object, {
    message: `${selects}; ${describeRules(policy)}`,
    compiledTo: isNone ? [] : [egressLabel(`policy/${key}`)],
    conditions: [
      {
        type: 'Accepted',
        status: 'True',
        reason: 'Accepted',
        message: `${selects}; ${describeRules(policy)}`,
      },
    ],
    ...(outside.length > 0 && {
      warning: `not enforced for what is not in the mesh: ${namesText(outside)}`,
    }),
  });
}

/** How the status names a resource. */
export function egressLabel(resource: string): string {
  return `Egress ${resource}`;
}

function namesText(pods: readonly Pod[]): string {
  const names = pods.map((pod) => `${namespaceOf(pod)}/${pod.metadata.name}`).sort();
  const more = names.length > MAX_NAMES ? ` and ${names.length - MAX_NAMES} more` : '';
  return names.length === 0 ? '' : `${names.slice(0, MAX_NAMES).join(', ')}${more}`;
}
