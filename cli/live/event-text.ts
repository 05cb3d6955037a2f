import type { FlowEvent, Party } from '../../lib/flow/event.ts';
import { bytesText, durationText } from '../demo/text.ts';
import type { Colours } from '../output/colours.ts';

/**
 * Whether an event is the word that counts of its connection: both ends tell of one, and the destination's word proves who called.
 * The source's counts for what left the mesh, or never arrived.
 */
export function isMainWord(event: FlowEvent): boolean {
  if (event.kind === 'request' || event.side !== 'source' || !event.mtls) return true;
  return event.kind === 'ended' && !event.opened;
}

/** One event in a line. */
export function eventLine(event: FlowEvent, colours: Colours): string {
  const { dim, good, bad, odd } = colours;
  const from = partyText(event.source);
  const service = event.backend ?? event.service;
  const to =
    event.destination.workload === undefined && service !== undefined
      ? service
      : partyText(event.destination);
  const parts = [
    dim(new Date(event.at).toISOString().slice(11, 23)),
    `${from} → ${to}${service !== undefined && service !== to ? dim(` (${service})`) : ''}`,
    event.mtls ? good('mTLS') : event.observed === true ? dim('observed') : odd('plain'),
  ];
  if (event.via !== undefined) parts.push(dim(`via ${event.via}`));
  switch (event.kind) {
    case 'opened':
      parts.push('opened');
      break;
    case 'ended':
      parts.push(
        event.opened ? `ended after ${durationText(event.durationMs)}` : bad('not opened'),
        `${bytesText(event.up)} up, ${bytesText(event.down)} down`,
        ...(event.rttMs === undefined ? [] : [`RTT ${durationText(event.rttMs)}`]),
        ...((event.retransmits ?? 0) === 0 ? [] : [odd(`${event.retransmits} retransmitted`)]),
      );
      break;
    case 'request': {
      const status = event.status === 0 ? 'no response' : String(event.status);
      parts.push(
        `${event.method} ${event.path}`,
        event.status === 0 || event.status >= 500
          ? bad(status)
          : event.status >= 400
            ? odd(status)
            : good(status),
        durationText(event.durationMs),
      );
      if (event.attempts > 1) parts.push(odd(`${event.attempts} attempts`));
      if (event.fallback === true) parts.push(odd('fallback'));
    }
  }
  parts.push(...verdictParts(event, colours));
  return parts.join('  ');
}

function verdictParts(event: FlowEvent, { bad, odd, dim }: Colours): string[] {
  const { verdict } = event;
  const parts: string[] = [];
  if (!verdict.allowed) parts.push(bad(deniedText(verdict)));
  else if (verdict.policy !== undefined) parts.push(dim(`by ${verdict.policy}`));
  for (const { policy, action } of verdict.trial ?? [])
    parts.push(odd(`${policy}, on trial, would ${action} it`));
  if (event.kind === 'ended' && event.flag !== undefined) parts.push(bad(event.flag));
  if (event.kind === 'request') parts.push(...(event.flags ?? []).map((flag) => bad(flag)));
  if (event.kind !== 'opened' && event.error !== undefined && verdict.allowed) parts.push(bad(event.error));
  return parts;
}

/** A reason that says no more than that it is denied, or by which policy, is not said twice. */
function deniedText({ policy, reason = '' }: FlowEvent['verdict']): string {
  const by = policy === undefined ? 'DENIED' : `DENIED by ${policy}`;
  const more = reason.replace(/^denied(: |$)/i, '').trim();
  return more === '' || more === `by ${policy}` || more === `denied by policy ${policy}`
    ? by
    : `${by}: ${more}`;
}

function partyText({ namespace, workload, ip, port }: Party): string {
  if (workload !== undefined) return `${namespace ?? ''}/${workload}${port === undefined ? '' : `:${port}`}`;
  return `${ip ?? 'unknown'}${port === undefined ? '' : `:${port}`}`;
}
