import { isNotable, type FlowEvent, type Party } from '../../lib/flow/event.ts';

/** What of the events is wanted; all that is given must hold. */
export interface FlowFilter {
  /** `namespace`, or `namespace/name` of a pod, its owner, its application or its account. */
  readonly from?: string;
  /** The same, or a Service's `namespace/name`. */
  readonly to?: string;
  /** Either end. */
  readonly namespace?: string;
  readonly verdict?: 'allowed' | 'denied' | 'notable';
  readonly method?: string;
  /** Beginning of the path. */
  readonly path?: string;
  /** `404`, `5xx`. */
  readonly status?: string;
  /** A policy that let it in, kept it out, or would have. */
  readonly policy?: string;
  /** A text anywhere in it, in any case. */
  readonly text?: string;
}

/** Names of the fields of {@link FlowFilter}, for flags and queries. */
export const FLOW_FILTER_FIELDS = [
  ...(['from', 'to', 'namespace', 'verdict', 'method', 'path', 'status', 'policy', 'text'] as const),
];

/** Whether an event passes the filter. */
export function passesFilter(event: FlowEvent, filter: FlowFilter): boolean {
  const { from, to, namespace, verdict, method, path, status, policy, text } = filter;
  if (from !== undefined && !isParty(event.source, from)) return false;
  if (to !== undefined && !isParty(event.destination, to) && event.service !== to && event.backend !== to)
    return false;
  if (
    namespace !== undefined &&
    ![event.source.namespace, event.destination.namespace, event.service?.split('/', 1)[0]].includes(
      namespace,
    )
  )
    return false;
  if (verdict !== undefined && !hasVerdict(event, verdict)) return false;
  if ((method ?? path ?? status) !== undefined && !isRequest(event, filter)) return false;
  if (policy !== undefined && !policiesOf(event).includes(policy)) return false;
  return text === undefined || JSON.stringify(event).toLowerCase().includes(text.toLowerCase());
}

/** The policies that an event names. */
export function policiesOf({ verdict }: FlowEvent): string[] {
  return [
    ...(verdict.policy === undefined ? [] : verdict.policy.split(', ')),
    ...(verdict.trial ?? []).map(({ policy }) => policy),
  ];
}

function hasVerdict(event: FlowEvent, wanted: NonNullable<FlowFilter['verdict']>): boolean {
  switch (wanted) {
    case 'allowed':
      return event.verdict.allowed;
    case 'denied':
      return !event.verdict.allowed;
    case 'notable':
      return isNotable(event);
  }
}

function isParty({ namespace, workload, owner, app, account, ip }: Party, wanted: string): boolean {
  const slash = wanted.indexOf('/');
  if (slash === -1) return namespace === wanted || ip === wanted;
  if (namespace !== wanted.slice(0, slash)) return false;
  return [workload, owner, app, account].includes(wanted.slice(slash + 1));
}

function isRequest(event: FlowEvent, { method, path, status }: FlowFilter): boolean {
  if (event.kind !== 'request') return false;
  if (method !== undefined && event.method !== method.toUpperCase()) return false;
  if (path !== undefined && !event.path.startsWith(path)) return false;
  if (status === undefined) return true;
  const code = String(event.status);
  return /^\dxx$/.test(status) ? code.length === 3 && code[0] === status[0] : code === status;
}
