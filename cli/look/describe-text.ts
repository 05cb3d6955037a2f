import { earlierText } from '../mesh/earlier.ts';
import type { Colours } from '../output/colours.ts';
import { policiesInWords } from '../output/policy-words.ts';
import { tableLines } from '../output/table.ts';
import { identityText, spanText } from '../output/words.ts';
import { kernelText } from '../why/text.ts';
import type { PodView, PolicyView, ServiceView } from './describe.ts';

export function podLines(view: PodView, colours: Colours, now: number): string[] {
  const { pod, kernel, workload, certificate, services, policies, egress, problems } = view;
  const labels = Object.entries(pod.labels).map(([name, value]) => `${name}=${value}`);
  const facts: [string, string][] = [
    ['pod', `${pod.namespace}/${pod.name}`],
    ['node', pod.node],
    ['addresses', pod.ips.join(', ') || colours.bad('none yet')],
    ['account', pod.account],
    ['ready', pod.ready ? 'yes' : colours.bad('no')],
  ];
  if (labels.length > 0) facts.push(['labels', labels.join(', ')]);
  facts.push(['kernel', kernelText(kernel)]);
  if (kernel.earlier !== undefined) facts.push(['still plain', colours.odd(earlierText(kernel.earlier))]);
  if (workload === undefined) facts.push(['mesh', 'its node does not know it']);
  else {
    facts.push(['identity', identityText(workload.identity)]);
    facts.push(['reached by', workload.tunnel === 'hbone' ? 'HBONE' : 'plain TCP']);
    if (workload.waypoint !== undefined) facts.push(['waypoint', workload.waypoint]);
  }
  if (certificate !== undefined)
    facts.push([
      'certificate',
      certificate.notAfter === undefined
        ? `${certificate.state}${certificate.lastError === undefined ? '' : `: ${certificate.lastError}`}`
        : `${certificate.state} for ${spanText(Date.parse(certificate.notAfter) - now)} more, serial ${certificate.serialNumber ?? ''}`,
    ]);
  return [
    ...tableLines(facts),
    ...section('SERVICES', services, colours),
    ...section('POLICIES FOR WHAT COMES IN', policies.map(policyText), colours),
    ...(egress === undefined
      ? []
      : section(
          'RULES FOR WHAT IT CALLS',
          [
            egress.policies.length === 0
              ? 'no EgressPolicy: all that the mesh knows'
              : `EgressPolicy ${egress.policies.join(', ')} and nothing else`,
            `what the mesh does not know: ${egress.unknownDestinations === 'allow' ? 'allowed' : 'refused'}`,
          ],
          colours,
        )),
    ...problemLines(problems, colours),
  ];
}

export function serviceLines(
  { service, known, waypoint, problems }: ServiceView,
  colours: Colours,
): string[] {
  const facts: [string, string][] = [['Service', `${service.namespace}/${service.name}`]];
  if (known !== undefined)
    facts.push(
      ['host', known.hostname],
      ['addresses', known.addresses.join(', ') || 'none: it is headless'],
      ['ports', known.ports.join(', ')],
      ['waypoint', known.waypoints.join(', ') || 'none'],
    );
  if (waypoint !== undefined) {
    facts.push(
      ['routes', waypoint.routes.join(', ') || 'none'],
      ['policies', waypoint.policies.join(', ') || 'none'],
    );
    if (waypoint.authentication.length > 0) facts.push(['tokens by', waypoint.authentication.join(', ')]);
    if (waypoint.trafficPolicy !== undefined) facts.push(['TrafficPolicy', waypoint.trafficPolicy]);
  }
  const endpoints = (known?.endpoints ?? []).map(
    ({ workload, node, addresses, tunnel, healthy, policies }) => [
      workload,
      node,
      addresses.join(', '),
      tunnel === 'hbone' ? 'HBONE' : colours.odd('plain'),
      healthy ? colours.good('healthy') : colours.bad('not healthy'),
      policies.map(policiesInWords).join(', '),
    ],
  );
  const head = ['POD', 'NODE', 'ADDRESSES', 'BY', 'STATE', 'POLICIES THERE'].map((name) => colours.dim(name));
  return [
    ...tableLines(facts),
    ...(endpoints.length === 0 ? [] : ['', ...tableLines([head, ...endpoints])]),
    ...problemLines(problems, colours),
  ];
}

function policyText({ name, action, onTrial, unsupported, allowsNothing }: PolicyView): string {
  const trial = `${onTrial ? ', on trial' : ''}${allowsNothing ? ', which allows nothing: loam status says whether it was rejected' : ''}`;
  return `${action.toUpperCase()} ${policiesInWords(name)}${trial}${unsupported === undefined ? '' : ` (stricter than written: ${unsupported})`}`;
}

function section(title: string, lines: readonly string[], colours: Colours): string[] {
  return ['', colours.bold(title), ...(lines.length === 0 ? ['  none'] : lines.map((line) => `  ${line}`))];
}

function problemLines(problems: readonly string[], colours: Colours): string[] {
  return problems.length === 0
    ? []
    : ['', colours.bad('NOT WELL'), ...problems.map((problem) => `  ${problem}`)];
}
