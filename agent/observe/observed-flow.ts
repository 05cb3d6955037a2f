import type { ObservedConnection } from '../../lib/linux/bpf/index.ts';
import { errnoText } from '../../lib/linux/errno-text.ts';
import type { ObservedFlow, ObservedReason } from '../../lib/observe/record.ts';

/** Errno by number, as far as they tell reasons apart. */
const REASONS: Readonly<Record<string, ObservedReason>> = {
  ECONNREFUSED: 'refused',
  ETIMEDOUT: 'timed-out',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
  ENETDOWN: 'unreachable',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
};
const NS_PER_MS = 1e6;

/** The kernel's clock of an entry, and the epoch's: both at one moment. */
export interface Moment {
  /** ns, monotonic. */
  readonly ns: bigint;
  /** ms since the epoch. */
  readonly ms: number;
}

/** What an agent tells of a connection. */
export function flowOf(connection: ObservedConnection, pod: string, now: Moment): ObservedFlow {
  const { established, ended, rttUs, rttMinUs, state } = connection;
  const at = (ns: bigint): number => Math.round(now.ms - Number(now.ns - ns) / NS_PER_MS);
  const isOver = state === 'over';
  const hadBeenOpen = established !== undefined;
  const why = isOver ? reasonOf(connection) : undefined;
  return {
    id: String(connection.cookie),
    pod,
    side: connection.dialled ? 'source' : 'destination',
    local: connection.local,
    remote: connection.remote,
    state: isOver ? (hadBeenOpen ? 'closed' : 'failed') : state,
    at: at(connection.began),
    ...(ended !== undefined && { endedAt: at(ended) }),
    ...(connection.dialled &&
      hadBeenOpen && { connectMs: Number(established - connection.began) / NS_PER_MS }),
    ...{ sent: connection.sent, received: connection.received },
    ...(rttUs !== undefined && { rttMs: rttUs / 1000 }),
    ...(rttMinUs !== undefined && { rttMinMs: rttMinUs / 1000 }),
    ...{ retransmits: connection.retransmits, segments: connection.segments },
    ...why,
  };
}

/**
 * Why it is over, as far as the kernel says. A message of ICMP that TCP only notes is the better reason for one that was given up.
 */
function reasonOf({
  error,
  softError,
  established,
}: ObservedConnection): { reason: ObservedReason; error?: string } | undefined {
  const number = error || (established === undefined ? softError : 0);
  if (number === 0) return established === undefined ? { reason: 'given-up' } : undefined;
  const name = errnoText(number);
  return { reason: REASONS[name] ?? 'other', error: name };
}
