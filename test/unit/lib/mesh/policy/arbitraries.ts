import fc from 'fast-check';
import type { Match, Policy, TextMatch } from '../../../../../lib/mesh/state/model.ts';
import type { Seen } from './reference-evaluator.ts';

// Small alphabets, so that things meet.
const namespace = fc.constantFrom('shop', 'bank', 's');
const account = fc.constantFrom('web', 'db', 'w');
const principal = fc
  .tuple(fc.constantFrom('cluster.local', 'other.example'), namespace, account)
  .map(([domain, ns, sa]) => `${domain}/ns/${ns}/sa/${sa}`);
const ip = fc.tuple(
  fc.constantFrom(10, 11),
  fc.constantFrom(0, 128),
  fc.constantFrom(0, 1),
  fc.constantFrom(1, 200),
);
const cidr = fc
  .tuple(ip, fc.constantFrom(0, 7, 8, 9, 16, 24, 31, 32))
  .map(([bytes, length]) => ({ bytes: [...bytes], length }));
const port = fc.constantFrom(80, 443);
const unsupported = fc.oneof(
  { weight: 9, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.constant('because') },
);

function textMatch(value: fc.Arbitrary<string>): fc.Arbitrary<TextMatch> {
  return fc.oneof(
    value.map((text) => ({ how: 'exact' as const, text })),
    fc.tuple(value, fc.nat(30)).map(([text, n]) => ({ how: 'prefix' as const, text: text.slice(0, n) })),
    fc.tuple(value, fc.nat(30)).map(([text, n]) => ({ how: 'suffix' as const, text: text.slice(n) })),
    fc.constant({ how: 'presence' as const }),
  );
}
function some<T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> {
  return fc.array(value, { minLength: 1, maxLength: 2 });
}
/** With the mark only where there is one, as the decoder makes it. */
function marked<T extends { unsupported: string | undefined }>(
  value: T,
): Omit<T, 'unsupported'> & { unsupported?: string } {
  const { unsupported: mark, ...rest } = value;
  return mark === undefined ? rest : { ...rest, unsupported: mark };
}

const accounts = some(fc.record({ namespace, serviceAccount: account }));
const fields = {
  namespaces: some(textMatch(namespace)),
  notNamespaces: some(textMatch(namespace)),
  principals: some(textMatch(principal)),
  notPrincipals: some(textMatch(principal)),
  sourceIps: some(cidr),
  notSourceIps: some(cidr),
  destinationIps: some(cidr),
  notDestinationIps: some(cidr),
  destinationPorts: some(port),
  notDestinationPorts: some(port),
  serviceAccounts: accounts,
  notServiceAccounts: accounts,
};
const names = Object.keys(fields) as (keyof typeof fields)[];
const none = Object.fromEntries(names.map((name) => [name, []])) as unknown as Match;
// Few fields at a time: with all of them set at random, hardly anything would match.
const match = fc
  .tuple(fc.subarray(names, { maxLength: 2 }), fc.record(fields), unsupported)
  .map(([chosen, all, mark]): Match => ({
    ...none,
    ...Object.fromEntries(chosen.map((name) => [name, all[name]])),
    ...marked({ unsupported: mark }),
  }));
const clause = fc.record({ matches: fc.array(match, { maxLength: 2 }), unsupported }).map(marked);
const rule = fc.record({ clauses: fc.array(clause, { maxLength: 2 }), unsupported }).map(marked);
const body = fc.record({
  action: fc.constantFrom('allow' as const, 'deny' as const),
  dryRun: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  rules: fc.array(rule, { maxLength: 2 }),
  unsupported,
});

/** Policies of one namespace, each with a name of its own. */
export const policies: fc.Arbitrary<Policy[]> = fc
  .array(body, { maxLength: 4 })
  .map((bodies) =>
    bodies.map((b, i) => ({ key: `shop/p${i}`, namespace: 'shop', scope: 'namespace', ...marked(b) })),
  );

export const seen: fc.Arbitrary<Seen> = fc.record({
  principal: fc.oneof(principal, fc.constant('')),
  sourceIp: ip.map((bytes) => bytes.join('.')),
  destIp: ip.map((bytes) => bytes.join('.')),
  destPort: port,
});
