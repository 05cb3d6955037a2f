import type { EgressPolicy, EgressRuleSpec } from '../../../../../controller/model/egress-policy.ts';

/** A call as docs/egress-policy.md describes it. */
export interface Call {
  readonly ip: string;
  readonly port: number;
  /** `namespace/name` of the Services that are dialled. */
  readonly services: readonly string[];
  readonly namespace: string | undefined;
  readonly identity: { readonly namespace: string; readonly account: string } | undefined;
  readonly known: boolean;
}

/** The address as a number and how many bits it has; understands no short form beyond `::`. */
export function bitsOf(ip: string): { readonly bits: bigint; readonly width: number } {
  if (!ip.includes(':'))
    return { bits: ip.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n), width: 32 };
  const [head = '', tail] = ip.split('::');
  const parts = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const [first, last] = [parts(head), parts(tail ?? '')];
  const zeros = new Array<string>(8 - first.length - last.length).fill('0');
  const groups = tail === undefined ? first : [...first, ...zeros, ...last];
  return { bits: groups.reduce((sum, part) => sum * 65536n + BigInt(`0x${part}`), 0n), width: 128 };
}

function inBlock(ip: string, block: string): boolean {
  const [address = '', length] = block.split('/');
  const [a, b] = [bitsOf(ip), bitsOf(address)];
  const shift = BigInt(b.width - Number(length ?? b.width));
  return a.width === b.width && a.bits >> shift === b.bits >> shift;
}

function glob(pattern: string, value: string): boolean {
  if (pattern === '*') return true;
  if (pattern.startsWith('*')) return value.endsWith(pattern.slice(1));
  if (pattern.endsWith('*')) return value.startsWith(pattern.slice(0, -1));
  return value === pattern;
}

function inCidrs({ cidrs = [] }: EgressRuleSpec, ip: string): boolean {
  return cidrs.some(
    ({ cidr, except = [] }) => inBlock(ip, cidr) && except.every((part) => !inBlock(ip, part)),
  );
}

function ruleAllows(rule: EgressRuleSpec, own: string, call: Call): boolean {
  const { services, serviceAccounts, principals, namespaces, cidrs, ports } = rule;
  const { identity } = call;
  if (
    ports !== undefined &&
    !ports.some(({ port, endPort = port }) => call.port >= port && call.port <= endPort)
  )
    return false;
  if ([services, serviceAccounts, principals, namespaces, cidrs].every((list) => list === undefined))
    return true;
  if (services?.some(({ name, namespace = own }) => call.services.includes(`${namespace}/${name}`)) === true)
    return true;
  if (call.namespace !== undefined && namespaces?.includes(call.namespace) === true) return true;
  if (identity !== undefined) {
    const account = `${identity.namespace}/${identity.account}`;
    const principal = `cluster.local/ns/${identity.namespace}/sa/${identity.account}`;
    if (serviceAccounts?.some((each) => (each.includes('/') ? each : `${own}/${each}`) === account) === true)
      return true;
    if (principals?.some((each) => glob(each, principal)) === true) return true;
  }
  return inCidrs(rule, call.ip);
}

/** What the page says, read off the manifests: the reference. @param policies those that select the caller */
export function mayCall(policies: readonly EgressPolicy[], registryOnly: boolean, call: Call): boolean {
  if (policies.length === 0) return call.known || !registryOnly;
  return policies.some((policy) =>
    (policy.spec.allow ?? []).some(
      (rule) =>
        ruleAllows(rule, policy.metadata.namespace ?? 'default', call) &&
        (call.known || !registryOnly || inCidrs(rule, call.ip)),
    ),
  );
}
