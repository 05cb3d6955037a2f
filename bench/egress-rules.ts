import { cidrFromText } from '../lib/mesh/state/ip.ts';
import { EgressStore } from '../lib/mesh/egress/egress-store.ts';
import { evaluateEgress, type EgressFacts } from '../lib/mesh/egress/evaluate.ts';
import type { EgressRule } from '../lib/mesh/egress/model.ts';

/**
 * Measures what it takes to judge one connection by rules of which only the last one allows it: what `./loam bench egress`
 * measures of a whole connection, without the noise of a network.
 *
 *   node bench/egress-rules.ts
 */
const UID = 'cluster/pod/client';
const JUDGED = 100_000;
const ROUNDS = 9;
const COUNTS = [1, 10, 100, 1000];
const FACTS: EgressFacts = {
  ip: [198, 18, 0, 2],
  port: 8080,
  services: [],
  namespace: 'default',
  identity: { trustDomain: 'cluster.local', namespace: 'default', serviceAccount: 'server' },
  known: true,
  text: 'pod default/server port 8080',
};
const EMPTY: EgressRule = {
  ...{ services: [], serviceAccounts: [], principals: [], namespaces: [], blocks: [], ports: [] },
};

const block = (text: string) => {
  const cidr = cidrFromText(text);
  if (cidr === undefined) throw new Error(`${text} is no block`);
  return { cidr, except: [] };
};

/** A rule that does not allow what is dialled, of each kind in turn. */
function otherRule(i: number): EgressRule {
  const kinds: Partial<EgressRule>[] = [
    { blocks: [block(`192.0.2.${i % 256}/32`)] },
    { serviceAccounts: [{ namespace: 'data', serviceAccount: `db-${i}` }] },
    { principals: [{ how: 'suffix', text: `/sa/reports-${i}` }] },
    { namespaces: [`team-${i}`], ports: [{ first: 8000, last: 8099 }] },
    { services: [`data/db-${i}.data.svc.cluster.local`] },
  ];
  return { ...EMPTY, ...kinds[i % kinds.length] };
}

/** Microseconds to judge one connection. */
function measure(store: EgressStore): number {
  const from = performance.now();
  for (let i = 0; i < JUDGED; i++)
    if (evaluateEgress(store, UID, FACTS, false).verdict !== 'allow') throw new Error('it was not allowed');
  return ((performance.now() - from) * 1000) / JUDGED;
}

for (const count of COUNTS) {
  const rules = Array.from({ length: count - 1 }, (_, i) => otherRule(i));
  rules.push({ ...EMPTY, blocks: [block('198.18.0.2/32')], ports: [{ first: 8080, last: 8080 }] });
  const key = 'default/client';
  const store = new EgressStore();
  store.apply({
    upserts: [
      { kind: 'policy', key, rules },
      { kind: 'workload', uid: UID, policies: [key], unknownDestinations: 'allow' },
    ],
    removed: [],
  });
  const samples = Array.from({ length: ROUNDS }, () => measure(store)).sort((a, b) => a - b);
  console.log(`${count} rules: ${(samples[Math.floor(ROUNDS / 2)] ?? NaN).toFixed(2)} us`);
}
