/** Whom ALLOW policies let in, in words, for whoever was not among them. */
import type { AuthorizationPolicy } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { ipFromBytes, type Cidr } from '../../lib/mesh/state/ip.ts';
import type { Match, Policy, Rule, TextMatch } from '../../lib/mesh/state/model.ts';

/** How many policies, rules of one, and values of one field are told. */
const MAX_TOLD = 5;

/** Of a pod, by the policies that its node holds for it. @returns a line for each policy, within bounds */
export function allowedAtPod(policies: readonly Policy[]): string[] {
  const allows = policies.filter(({ action, dryRun }) => action === 'allow' && !dryRun);
  return bounded(
    allows.map(({ key, rules, unsupported }) => policyText(key, unsupported, rules.map(ruleText))),
  );
}

/** Of a Service, by the policies that its waypoint holds for it. */
export function allowedAtWaypoint(policies: readonly AuthorizationPolicy[]): string[] {
  // As the proto has them: ALLOW is 0.
  const allows = policies.filter(({ action, dryRun }) => Number(action) === 0 && !dryRun);
  return bounded(
    allows.map(({ namespace, name, rules, unsupported }) =>
      policyText(
        `${namespace}/${name}`,
        unsupported === '' ? undefined : unsupported,
        rules.map(({ from, to, when }) =>
          [
            alternatives(from.map(fieldsText)),
            alternatives(to.map(fieldsText)),
            ...when.map(
              ({ key, values, notValues }) =>
                `${key} ${[...values, ...notValues.map((value) => `not ${value}`)].slice(0, MAX_TOLD).join(' or ')}`,
            ),
          ]
            .filter((part) => part !== '')
            .join(', '),
        ),
      ),
    ),
  );
}

function policyText(key: string, unsupported: string | undefined, rules: readonly string[]): string {
  if (unsupported !== undefined) return `${key} allows nobody: ${unsupported}`;
  if (rules.length === 0) return `${key} allows nobody: it has no rule`;
  return `${key} allows ${bounded(rules.map((rule) => (rule === '' ? 'anything' : rule))).join('; or ')}`;
}

function ruleText({ clauses, unsupported }: Rule): string {
  if (unsupported !== undefined) return `nothing by a rule that is not understood (${unsupported})`;
  return clauses.map(({ matches }) => alternatives(matches.map(matchText))).join(', ');
}

function matchText(match: Match): string {
  if (match.unsupported !== undefined) return `what a node cannot see (${match.unsupported})`;
  const ips = (cidrs: readonly Cidr[]): string[] =>
    cidrs.map(({ bytes, length }) => `${ipFromBytes(Uint8Array.from(bytes)) ?? '?'}/${length}`);
  return fieldsText({
    namespaces: match.namespaces.map(textMatchText),
    notNamespaces: match.notNamespaces.map(textMatchText),
    principals: match.principals.map(textMatchText),
    notPrincipals: match.notPrincipals.map(textMatchText),
    serviceAccounts: match.serviceAccounts.map((each) => `${each.namespace}/${each.serviceAccount}`),
    notServiceAccounts: match.notServiceAccounts.map((each) => `${each.namespace}/${each.serviceAccount}`),
    sourceIps: ips(match.sourceIps),
    notSourceIps: ips(match.notSourceIps),
    destinationIps: ips(match.destinationIps),
    notDestinationIps: ips(match.notDestinationIps),
    destinationPorts: match.destinationPorts.map(String),
    notDestinationPorts: match.notDestinationPorts.map(String),
  });
}

/** As Istio's policies write it. */
function textMatchText(match: TextMatch): string {
  switch (match.how) {
    case 'exact':
      return match.text;
    case 'prefix':
      return `${match.text}*`;
    case 'suffix':
      return `*${match.text}`;
    case 'presence':
      return '*';
  }
}

/** `principals cluster.local/ns/a/sa/b and methods GET or POST`: what has values, with its own name. */
function fieldsText(fields: object): string {
  return Object.entries(fields)
    .flatMap(([name, values]: [string, unknown]) =>
      Array.isArray(values) && values.length > 0
        ? [`${wordsOf(name)} ${bounded(values.map(String)).join(' or ')}`]
        : [],
    )
    .join(' and ');
}

function wordsOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function alternatives(all: readonly string[]): string {
  const told = all.filter((each) => each !== '');
  return bounded(told).join(' or ');
}

function bounded(all: readonly string[]): string[] {
  return all.length <= MAX_TOLD
    ? [...all]
    : [...all.slice(0, MAX_TOLD), `${all.length - MAX_TOLD} more that are not told`];
}
