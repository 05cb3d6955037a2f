import type { KernelPod } from '../mesh/reader.ts';
import type { Colours } from '../output/colours.ts';
import { policiesInWords } from '../output/policy-words.ts';
import { tableLines } from '../output/table.ts';
import type { Explanation, Step, Way } from './model.ts';

const SCHEME = /^spiffe:\/\//;

/** What a person reads of it. */
export function whyLines(explanation: Explanation, colours: Colours): string[] {
  const { source, destination, dialled, request, ways, kernel } = explanation;
  const asked = request === undefined ? '' : ` ${request.method} ${request.path}`;
  const groups = grouped(ways);
  return [
    `${headline(explanation, colours)}  ${source} → ${destination}${asked}`,
    ...(dialled.length > 0 ? [colours.dim(`  dials ${dialled.join(' or ')}`)] : []),
    ...groups.flatMap((group) => ['', ...wayLines(group, groups.length > 1, colours)]),
    '',
    colours.bold('KERNEL'),
    ...tableLines(
      Object.entries(kernel).map(([pod, said]) => [pod, kernelText(said)]),
      [],
      '  ',
    ),
  ];
}

function headline({ outcome, ways }: Explanation, { good, bad, odd }: Colours): string {
  switch (outcome) {
    case 'allowed':
      return good('ALLOWED');
    case 'denied':
      return bad('DENIED');
    case 'unreachable':
      return bad('UNREACHABLE');
    case 'depends': {
      const allowed = ways.filter((way) => way.outcome === 'allowed').length;
      return odd(`DEPENDS (${allowed} of ${ways.length} ways are allowed)`);
    }
  }
}

/** Ways that differ by their endpoint alone, or not at all, are told once. */
interface Group {
  readonly way: Way;
  readonly endpoints: readonly string[];
}

function grouped(ways: readonly Way[]): Group[] {
  const groups = new Map<string, { way: Way; endpoints: string[] }>();
  for (const way of ways) {
    const { outcome, policy, reason, route, backend, status, hops, endpoint } = way;
    const key = JSON.stringify([
      ...[outcome, policy, reason, route, backend, status],
      hops.map(({ by, clientIdentity, serverIdentity }) => [by, clientIdentity, serverIdentity]),
    ]);
    const text = endpoint === undefined ? '' : `${endpoint} at ${way.address ?? ''}`;
    const group = groups.get(key) ?? { way, endpoints: [] };
    if (text !== '' && !group.endpoints.includes(text)) group.endpoints.push(text);
    groups.set(key, group);
  }
  return [...groups.values()];
}

function wayLines({ way, endpoints }: Group, several: boolean, colours: Colours): string[] {
  const { hops, route, backend, policy, policyKind = '', reason, status } = way;
  const facts: [string, string][] = [];
  if (several) facts.push(['outcome', outcomeText(way, colours)]);
  if (policy !== undefined) facts.push(['rule', ruleText(policyKind, policy)]);
  if (reason !== undefined)
    facts.push([
      'because',
      policiesInWords(status === undefined ? reason : `${reason} (the client gets ${status})`),
    ]);
  facts.push(['path', pathText(way)]);
  if (route !== undefined) facts.push(['route', route]);
  if (backend !== undefined) facts.push(['backend', backend]);
  if (endpoints.length > 0) facts.push(['endpoint', endpoints.join(', or ')]);
  for (const hop of hops)
    if (hop.clientIdentity !== undefined)
      facts.push([
        'identities',
        `${idText(hop.clientIdentity)} ⇄ ${idText(hop.serverIdentity ?? '?')}${hops.length > 1 ? ` (to ${hop.to})` : ''}`,
      ]);
  return [
    ...tableLines(
      facts.map(([name, value]) => [name, value]),
      [],
      '  ',
    ),
    ...tableLines(
      way.steps.map((step) => [mark(step, colours), step.where, policiesInWords(step.text)]),
      [],
      '    ',
    ),
  ];
}

function outcomeText({ outcome }: Way, { good, bad }: Colours): string {
  return outcome === 'allowed' ? good(outcome) : bad(outcome);
}

function pathText({ hops }: Way): string {
  if (hops.length === 0) return 'none: nothing is dialled';
  return hops.map(({ by, to }) => `${by === 'hbone' ? 'HBONE' : 'plain'} to ${to}`).join(', then ');
}

function idText(uri: string): string {
  return uri.replace(SCHEME, '');
}

function mark({ verdict }: Step, { good, bad, dim }: Colours): string {
  switch (verdict) {
    case 'passes':
      return good('✓');
    case 'denied':
    case 'fails':
      return bad('✗');
    case 'note':
      return dim('·');
  }
}

/** What the controller made of a manifest has no kind of its own. */
function ruleText(kind: string, policy: string): string {
  const words = policiesInWords(policy);
  return words === policy ? `${kind} ${policy}`.trim() : words;
}

/** The maps of one pod in a line. */
export function kernelText(kernel: KernelPod): string {
  const { enrolled, cookie, generation, ips, off, listeners, dropped, problem, unread } = kernel;
  if (kernel.unknown === true) return `not known: ${unread ?? 'it could not be read'}`;
  const parts = [enrolled ? 'enrolled' : 'not enrolled'];
  if (off !== undefined) parts.push(`OFF since ${off}: plain networking`);
  if (generation !== undefined)
    parts.push(`entry of generation ${generation} for ${(ips ?? []).join(' and ')}`);
  if (enrolled && listeners !== undefined)
    parts.push(
      `steered to ${Object.entries(listeners)
        .map(([role, port]) => `${role} ${port}`)
        .join(', ')}`,
    );
  if (dropped !== undefined)
    parts.push(
      `guard dropped ${Object.entries(dropped)
        .map(([why, packets]) => `${packets} (${why})`)
        .join(', ')}`,
    );
  if (cookie !== undefined) parts.push(`netns cookie ${cookie}`);
  if (problem !== undefined) parts.push(`agent: ${problem}`);
  if (unread !== undefined) parts.push(`not all could be read: ${unread}`);
  return parts.join('; ');
}
