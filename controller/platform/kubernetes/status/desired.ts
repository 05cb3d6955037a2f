import { isDeepStrictEqual } from 'node:util';
import {
  GATEWAY_GROUP,
  type ParentRef,
  WAYPOINT_CLASS,
  WAYPOINT_CONTROLLER,
} from '../../../model/gateway-api.ts';
import {
  type Gateway,
  type GatewayClass,
  type GRPCRoute,
  type HTTPRoute,
  isService,
  namespaceOf,
} from '../../../model/objects.ts';
import type { Condition } from '../../../compile/outcomes.ts';
import type { ObjectReport } from '../../../status/report.ts';

/** metav1.Condition. */
export interface WrittenCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
  readonly lastTransitionTime: string;
}

/** A status as JSON; `conditions`, `parents` and the like within are of other controllers too. */
export type Status = Readonly<Record<string, unknown>>;

/** What the status is made of. */
export interface StatusInput {
  /** As it is now, at the API server. */
  readonly status: Status;
  /** Of the object that the report is about. */
  readonly generation: number;
  readonly report: Pick<
    ObjectReport,
    'state' | 'message' | 'conditions' | 'refusals' | 'lastGood' | 'standIn' | 'reason'
  >;
  /** RFC 3339. */
  readonly now: string;
}

const MAX_MESSAGE = 32_768;
/** What the Gateway API calls an object that makes no sense (GatewayConditionReason, RouteConditionReason). */
const REJECTED = { gateway: 'Invalid', route: 'UnsupportedValue', policy: 'Invalid' } as const;

/** The conditions with what we say of them, others' left as they are; a time changes only with its condition's status. */
function merged(
  before: unknown,
  wanted: readonly Omit<Condition, 'parent'>[],
  { generation, now }: Pick<StatusInput, 'generation' | 'now'>,
): WrittenCondition[] {
  const known = (Array.isArray(before) ? before : []) as WrittenCondition[];
  const types = new Set(wanted.map(({ type }) => type));
  const own = wanted.map(({ type, status, reason, message }) => {
    const former = known.find((each) => each.type === type);
    return {
      ...{ type, status, reason, message: message.slice(0, MAX_MESSAGE), observedGeneration: generation },
      lastTransitionTime: former?.status === status ? former.lastTransitionTime : now,
    };
  });
  return [...own, ...known.filter(({ type }) => !types.has(type))];
}

/** Of several conditions of a type the one that says No counts: an object has one of each. */
function worstOfType(conditions: readonly Condition[]): Condition[] {
  const byType = new Map<string, Condition>();
  for (const condition of conditions) {
    const known = byType.get(condition.type);
    if (known === undefined || (known.status === 'True' && condition.status !== 'True'))
      byType.set(condition.type, condition);
  }
  return [...byType.values()];
}

function refusal(reason: string, { message = '' }: StatusInput['report']): Condition {
  return { type: 'Accepted', status: 'False', reason, message };
}

/** @param ips of the waypoint's Service */
export function gatewayStatus(gateway: Gateway, ips: readonly string[], input: StatusInput): Status {
  const { status, report } = input;
  const rejected = report.state === 'rejected';
  const conditions: readonly Condition[] = rejected
    ? [refusal(REJECTED.gateway, report), { ...refusal(REJECTED.gateway, report), type: 'Programmed' }]
    : (report.conditions ?? []);
  const listeners = (Array.isArray(status['listeners']) ? status['listeners'] : []) as {
    readonly name?: string;
    readonly conditions?: unknown;
  }[];
  const isProgrammed = conditions.find(({ type }) => type === 'Programmed');
  const ofListener: Condition[] = [
    rejected
      ? refusal(REJECTED.gateway, report)
      : { type: 'Accepted', status: 'True', reason: 'Accepted', message: '' },
    {
      ...{
        type: 'Programmed',
        status: isProgrammed?.status ?? 'False',
        message: isProgrammed?.message ?? '',
      },
      reason: isProgrammed?.status === 'True' ? 'Programmed' : rejected ? REJECTED.gateway : 'Pending',
    },
    { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: '' },
    { type: 'Conflicted', status: 'False', reason: 'NoConflicts', message: '' },
  ];
  return {
    ...status,
    addresses: ips.map((value) => ({ type: 'IPAddress', value })),
    conditions: merged(status['conditions'], conditions, input),
    listeners: gateway.spec.listeners.map(({ name }) => ({
      name,
      // Routes are attached to Services, and reach the waypoint by these.
      attachedRoutes: 0,
      supportedKinds: ['HTTPRoute', 'GRPCRoute'].map((kind) => ({ group: GATEWAY_GROUP, kind })),
      conditions: merged(listeners.find((each) => each.name === name)?.conditions, ofListener, input),
    })),
  };
}

/** Undefined for the class of another controller. */
export function classStatus(gatewayClass: GatewayClass, input: StatusInput): Status | undefined {
  if (gatewayClass.spec.controllerName !== WAYPOINT_CONTROLLER) return undefined;
  const { name } = gatewayClass.metadata;
  const accepted: Condition =
    input.report.state === 'rejected'
      ? refusal(REJECTED.gateway, input.report)
      : name === WAYPOINT_CLASS
        ? { type: 'Accepted', status: 'True', reason: 'Accepted', message: '' }
        : {
            ...{ type: 'Accepted', status: 'False', reason: 'Unsupported' },
            message: `metadata.name is ${JSON.stringify(name)}; allowed: ${WAYPOINT_CLASS}`,
          };
  return { ...input.status, conditions: merged(input.status['conditions'], [accepted], input) };
}

/** Of the parents those that are Services; undefined where there is none, and nothing was ever said. */
export function routeStatus(route: HTTPRoute | GRPCRoute, input: StatusInput): Status | undefined {
  const { status, report } = input;
  const known = (Array.isArray(status['parents']) ? status['parents'] : []) as {
    readonly parentRef: ParentRef;
    readonly controllerName: string;
    readonly conditions: unknown;
  }[];
  const others = known.filter(({ controllerName }) => controllerName !== WAYPOINT_CONTROLLER);
  const parentRefs = (route.spec.parentRefs ?? []).filter(
    ({ kind = 'Gateway', group = GATEWAY_GROUP, name }) => isService({ kind, group, name }),
  );
  const own = parentRefs.map((parentRef) => {
    const { namespace = namespaceOf(route), name, port } = parentRef;
    const text = `Service ${namespace}/${name}${port === undefined ? '' : ` port ${port}`}`;
    const conditions =
      report.state === 'rejected'
        ? [refusal(REJECTED.route, report)]
        : worstOfType(
            (report.conditions ?? []).filter(({ parent }) => parent === undefined || parent === text),
          );
    const former = known.find(
      (each) => each.controllerName === WAYPOINT_CONTROLLER && isDeepStrictEqual(each.parentRef, parentRef),
    );
    return {
      parentRef,
      controllerName: WAYPOINT_CONTROLLER,
      conditions: merged(former?.conditions, conditions, input),
    };
  });
  if (own.length === 0 && others.length === known.length) return undefined;
  return { ...status, parents: [...others, ...own] };
}

/**
 * Of a policy as a whole: `Accepted`, and what else was found. What is rejected also says what holds instead (`Enforced`), since
 * that is nothing of what is written.
 */
export function policyStatus(input: StatusInput): Status {
  const { status, report } = input;
  const { message = '' } = report;
  const conditions: Condition[] = [];
  if (report.state === 'rejected')
    conditions.push(refusal(report.reason ?? REJECTED.policy, report), notInForce(report));
  if (report.refusals.length > 0) conditions.push(unenforced('Refused', report.refusals.join('; ')));
  conditions.push(...(report.conditions ?? []));
  if (!conditions.some(({ type }) => type === 'Accepted'))
    conditions.push(
      report.state === 'pending'
        ? refusal('Pending', report)
        : { type: 'Accepted', status: 'True', reason: 'Accepted', message },
    );
  return { ...status, conditions: merged(status['conditions'], worstOfType(conditions), input) };
}

/** What is in force in place of an object that is not accepted. */
function notInForce({ lastGood, standIn, message = '' }: StatusInput['report']): Condition {
  if (lastGood) return unenforced('FormerInForce', 'its last good state stays in force');
  return standIn === undefined ? unenforced('NotInForce', message) : unenforced('StricterInForce', standIn);
}

function unenforced(reason: string, message: string): Condition {
  return { type: 'Enforced', status: 'False', reason, message };
}

/** Of a policy that is attached to targets (GEP-713): conditions by target. */
export function attachedPolicyStatus(
  targets: readonly { readonly group?: string; readonly kind: string; readonly name: string }[],
  namespace: string,
  input: StatusInput,
): Status {
  const { status, report } = input;
  const known = (Array.isArray(status['ancestors']) ? status['ancestors'] : []) as {
    readonly ancestorRef: { readonly kind: string; readonly name: string };
    readonly controllerName: string;
    readonly conditions: unknown;
  }[];
  const others = known.filter(({ controllerName }) => controllerName !== WAYPOINT_CONTROLLER);
  const own = targets.map(({ group, kind, name }) => {
    const text = `${kind} ${namespace}/${name}`;
    const found = worstOfType(
      (report.conditions ?? []).filter(({ parent }) => parent === undefined || parent === text),
    );
    const conditions =
      report.state === 'rejected'
        ? [refusal(report.reason ?? REJECTED.policy, report)]
        : found.some(({ type }) => type === 'Accepted')
          ? found
          : [refusal('Pending', report), ...found];
    const former = known.find(
      ({ ancestorRef, controllerName }) =>
        controllerName === WAYPOINT_CONTROLLER && ancestorRef.kind === kind && ancestorRef.name === name,
    );
    return {
      ancestorRef: { ...(group !== undefined && { group }), kind, name },
      controllerName: WAYPOINT_CONTROLLER,
      conditions: merged(former?.conditions, conditions, input),
    };
  });
  return { ...status, ancestors: [...others, ...own] };
}
