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
  type MeshSettings,
  namespaceOf,
  objectKey,
  type Pod,
  refOf,
} from '../../model/objects.ts';
import { type Attachment, isAttached } from '../authorization.ts';
import type { Objects } from '../group.ts';
import { Memo, sameItems } from '../memo.ts';
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
  /** What each node gets that has pods: these, and all policies, by which it knows whether one may select a pod that it is not told of. */
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

/** What holds for the calls of one pod. */
export interface PodRules {
  /** Names of the policies that select it, sorted. */
  readonly policies: readonly string[];
  /** Whether destinations that the mesh does not know are refused. */
  readonly refuses: boolean;
}

/** What was encoded for pods. */
export class EgressMemo extends Memo<PodRules> {
  constructor() {
    super((a, b) => a.refuses === b.refuses && sameItems(a.policies, b.policies));
  }
}

/** Compiles who may call what. Pure but for its memory: equal input gives equal bytes. */
export class EgressCompiler {
  readonly #objects: Objects;
  readonly #planned: readonly Planned[];
  readonly #memo: EgressMemo;

  constructor(objects: Objects, rootNamespace: string, memo: EgressMemo) {
    this.#objects = objects;
    this.#memo = memo;
    this.#planned = objects.egressPolicies.map((object): Planned => {
      const policy = compileEgressPolicy(object);
      const key = `${policy.namespace}/${policy.name}`;
      const attachment = egressAttachment(object, rootNamespace);
      return { object, key, policy, attachment, inside: [], outside: [] };
    });
  }

  rulesOf(pod: Pod): PodRules {
    const refuses = (this.#ofNamespace(pod) ?? outboundOfMesh(this.#settings)) === 'REGISTRY_ONLY';
    const policies = this.#selecting(pod).map(({ key }) => key);
    return { policies: policies.sort(), refuses };
  }

  /** The resource that tells a node of one of its pods. */
  resourceOf(uid: string, { policies, refuses }: PodRules): CompiledResource {
    return this.#memo.get(uid, { policies, refuses }, () =>
      encode(egressName(uid), {
        case: 'workload',
        value: {
          $typeName: 'loam.egress.v1.Workload',
          uid,
          policies: [...policies],
          unknownDestinations: refuses ? UnknownDestinations.REFUSE : UnknownDestinations.ALLOW,
        },
      }),
    );
  }

  /** Whether a node has more than its pods: the policies, which come with its first pod and go with its last. */
  get hasPolicies(): boolean {
    return this.#planned.length > 0;
  }

  /** A pod is gone. */
  forget(uid: string): void {
    this.#memo.forget(uid);
  }

  /**
   * Every pod of a node has a resource, so that a node never takes one of which it has not been told for one that nothing
   * restricts.
   *
   * @param pods those that run somewhere, without those in their node's own network
   */
  compile(
    pods: Iterable<PlacedPod>,
    outcomes: Outcomes,
  ): Omit<EgressPlan, 'byNode'> & { readonly byNode: Map<string, Map<string, CompiledResource>> } {
    const byNode = new Map<string, Map<string, CompiledResource>>();
    const enforcers = new Map<string, Set<string>>();
    const enforce = (object: KubeObject, node: string): void => {
      const key = objectKey(refOf(object));
      enforcers.set(key, (enforcers.get(key) ?? new Set()).add(node));
    };
    const settings = this.#settings;
    for (const { pod, uid, node, inMesh } of pods) {
      const resources = byNode.get(node) ?? new Map<string, CompiledResource>();
      byNode.set(node, resources);
      for (const { object, inside, outside } of this.#selecting(pod)) {
        (inMesh ? inside : outside).push(pod);
        if (inMesh) enforce(object, node);
      }
      const rules = this.rulesOf(pod);
      const by =
        this.#ofNamespace(pod) === undefined ? settings : this.#objects.namespaces.get(namespaceOf(pod));
      if (rules.refuses && inMesh && by !== undefined) enforce(by, node);
      const resource = this.resourceOf(uid, rules);
      resources.set(resource.name, resource);
    }
    // Encoded once for all nodes: there may be a thousand of each.
    const policies = this.#planned.map(({ key, policy }) =>
      encode(`policy/${key}`, { case: 'policy', value: policy }),
    );
    for (const resources of byNode.values())
      for (const resource of policies) resources.set(resource.name, resource);
    for (const each of this.#planned) report(each, outcomes);
    if (settings !== undefined) {
      const refuses = outboundOfMesh(settings) === 'REGISTRY_ONLY';
      const message = `destinations that the mesh does not know are ${refuses ? 'refused' : 'reached'}`;
      outcomes.add(settings, { message });
    }
    return { byNode, enforcers };
  }

  get #settings(): MeshSettings | undefined {
    return this.#objects.meshSettings[0];
  }

  #ofNamespace(pod: Pod): ReturnType<typeof outboundOfNamespace> {
    return outboundOfNamespace(this.#objects.namespaces.get(namespaceOf(pod)));
  }

  #selecting(pod: Pod): Planned[] {
    const { labels = {} } = pod.metadata;
    return this.#planned.filter(({ attachment }) =>
      isAttached(attachment, namespaceOf(pod), labels, NO_SERVICES),
    );
  }
}

/** The resource of a pod. */
export function egressName(uid: string): string {
  return `workload/${uid}`;
}

const NO_SERVICES: ReadonlySet<string> = new Set();

function encode(name: string, kind: Resource['kind']): CompiledResource {
  const bytes = toBinary(ResourceSchema, create(ResourceSchema, { kind }));
  return { name, bytes, aliases: [], members: [] };
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
