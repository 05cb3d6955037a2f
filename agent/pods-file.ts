/** Reads the text of pods.json strictly: each entry by itself, so that a wrong one costs no other. */
import { canonicalIp, ipFamily } from '../lib/linux/ip.ts';
import type { PodSpec, SourceProblem } from './pod-source.ts';

const FIELDS = [
  ...['uid', 'name', 'namespace', 'serviceAccount', 'netns', 'ips'],
  ...['labels', 'annotations', 'namespaceLabels'],
];
const REQUIRED = FIELDS.slice(0, 6);
const MAX_SHOWN = 80;
/** Several times what a node can have; each entry may cost a problem to be kept and logged. */
const MAX_ENTRIES = 8192;

/** An entry that cannot be used, with what could be read of its identity. */
export interface BadEntry {
  readonly uid: string | undefined;
  readonly podName: string | undefined;
}

export type PodsFile =
  | { readonly readable: false; readonly problems: readonly SourceProblem[] }
  | {
      readonly readable: true;
      readonly pods: ReadonlyMap<string, PodSpec>;
      readonly bad: readonly BadEntry[];
      readonly problems: readonly SourceProblem[];
    };

/** Parses and validates; never throws. */
export function parsePodsFile(file: string, text: string): PodsFile {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (error) {
    return unreadable(file, (error as Error).message, 'JSON');
  }
  if (!isObject(root) || !Array.isArray(root['pods'])) {
    return unreadable(file, 'there is no list "pods"', '{ "pods": [ … ] }');
  }
  if (root['pods'].length > MAX_ENTRIES) {
    return unreadable(file, `${root['pods'].length} entries`, `at most ${MAX_ENTRIES}`);
  }
  const unknown = Object.keys(root).find((key) => key !== 'pods');
  if (unknown !== undefined) return unreadable(file, `unknown field ${shown(unknown)}`, '"pods" only');

  const pods = new Map<string, PodSpec>();
  const bad: BadEntry[] = [];
  const problems: SourceProblem[] = [];
  root['pods'].forEach((entry: unknown, i) => {
    const where = { where: file, entry: entryName(entry, i) };
    const wrong = wrongField(entry);
    if (wrong !== undefined) {
      problems.push({ ...where, ...wrong });
      bad.push(identityOf(entry));
      return;
    }
    const pod = toPod(entry as Record<string, unknown>);
    const other = pods.get(pod.uid);
    if (other === undefined) {
      pods.set(pod.uid, pod);
      return;
    }
    const message = `${pod.uid} is also the uid of ${other.namespace}/${other.name}`;
    problems.push({ ...where, field: 'uid', message, allowed: 'a uid once' });
    bad.push(identityOf(entry));
  });
  return { readable: true, pods, bad, problems };
}

function unreadable(file: string, message: string, allowed: string): PodsFile {
  return { readable: false, problems: [{ where: file, message, allowed }] };
}

interface Rule {
  readonly allowed: string;
  readonly holds: (value: unknown) => boolean;
}

// RFC 1123 names, as Kubernetes has them.
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const matches =
  (pattern: RegExp) =>
  (value: unknown): boolean =>
    typeof value === 'string' && pattern.test(value);
const isLabels = (value: unknown): boolean =>
  isObject(value) && Object.values(value).every((each) => typeof each === 'string');
const DNS_SUBDOMAIN: Rule = { allowed: 'a DNS name of at most 253 characters', holds: matches(SUBDOMAIN) };
const LABELS: Rule = { allowed: 'an object of strings', holds: isLabels };

const RULES: Readonly<Record<string, Rule>> = {
  uid: { allowed: '1 to 128 of A-Z, a-z, 0-9, . _ -', holds: matches(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/) },
  name: DNS_SUBDOMAIN,
  namespace: { allowed: 'a DNS label of at most 63 characters', holds: matches(LABEL) },
  serviceAccount: DNS_SUBDOMAIN,
  netns: { allowed: 'an absolute path', holds: matches(/^\/[^\0]{1,4000}$/) },
  ips: {
    allowed: 'a list of one IP address, or of one IPv4 and one IPv6 address, the primary first',
    holds: isPodIps,
  },
  labels: LABELS,
  annotations: LABELS,
  namespaceLabels: LABELS,
};

/** As Kubernetes' podIPs: at most one address of each family. */
function isPodIps(value: unknown): boolean {
  if (!Array.isArray(value) || value.length < 1 || value.length > 2) return false;
  const families = value.map((ip) => (typeof ip === 'string' ? ipFamily(ip) : undefined));
  return !families.includes(undefined) && new Set(families).size === families.length;
}

function wrongField(entry: unknown): Omit<SourceProblem, 'where'> | undefined {
  if (!isObject(entry)) return { message: `${shown(entry)} is not an object`, allowed: 'an object' };
  const unknown = Object.keys(entry).find((key) => !FIELDS.includes(key));
  if (unknown !== undefined) return { field: unknown, message: 'unknown field', allowed: FIELDS.join(', ') };
  for (const [field, rule] of Object.entries(RULES)) {
    const value = entry[field];
    if (value === undefined) {
      if (REQUIRED.includes(field)) return { field, message: 'missing', allowed: rule.allowed };
    } else if (!rule.holds(value)) {
      return { field, message: `${shown(value)} is not allowed`, allowed: rule.allowed };
    }
  }
  return undefined;
}

function toPod(entry: Record<string, unknown>): PodSpec {
  const ips = (entry['ips'] as string[]).map((ip) => canonicalIp(ip) ?? ip);
  return { labels: {}, annotations: {}, namespaceLabels: {}, ...entry, ips } as unknown as PodSpec;
}

function identityOf(entry: unknown): BadEntry {
  if (!isObject(entry)) return { uid: undefined, podName: undefined };
  const { uid, name, namespace } = entry;
  return {
    uid: typeof uid === 'string' ? uid : undefined,
    podName: typeof name === 'string' && typeof namespace === 'string' ? `${namespace}/${name}` : undefined,
  };
}

function entryName(entry: unknown, i: number): string {
  const { podName } = identityOf(entry);
  return podName === undefined ? `pods[${i}]` : `pods[${i}] ${podName.slice(0, MAX_SHOWN)}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
