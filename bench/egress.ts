import { spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { askJson } from '../cli/local/http.ts';
import type { ControllerStatus } from '../cli/local/status.ts';
import { peersFolder } from '../cli/test-rings/rings.ts';
import { FAKE_CA, harness, HARNESS_ENV, podsOf, RUN_DIR } from '../test/interop/harness.ts';
import { LoamSides, until } from '../test/interop/loam-side.ts';
import { finished } from '../test/mesh/harness.ts';

/**
 * Measures what an EgressPolicy costs: new connections per second from a pod, one after the other without a policy and with
 * rules of which only the last one allows the call. They take turns on the same two ztunnels; what counts is the ratio.
 *
 *   ./loam bench egress [--rounds 5] [--duration-s 10] [--rules 100]
 */
const PAIR = 'egress';
const FIRST_PORT = 25400;
/** What one policy may have, by its schema. */
const RULES_OF_A_POLICY = 64;
/** After a change: the identities and tunnels are there already. */
const SETTLE_MS = 1_000;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    'duration-s': { type: 'string', default: '10' },
    rules: { type: 'string', default: '100' },
  },
});
const rules = Number(values.rules);

/** A rule that does not allow what is dialled, of each kind in turn. */
function otherRule(i: number): object {
  const kinds = [
    { cidrs: [{ cidr: `192.0.2.${i % 256}/32` }] },
    { serviceAccounts: [`data/db-${i}`] },
    { principals: [`*/sa/reports-${i}`] },
    { namespaces: [`team-${i}`], ports: [{ port: 8000, endPort: 8099 }] },
    { cidrs: [{ cidr: `2001:db8:${i}::/48` }], ports: [{ port: 443 }] },
  ];
  return kinds[i % kinds.length] ?? {};
}

/** As many policies as the rules need; the last rule of all allows the server. */
function policies(server: string): string {
  const all = Array.from({ length: rules - 1 }, (_, i) => otherRule(i));
  all.push({ cidrs: [{ cidr: `${server}/32` }], ports: [{ port: 8080 }] });
  const documents: string[] = [];
  for (let at = 0; at < all.length; at += RULES_OF_A_POLICY)
    documents.push(
      JSON.stringify({
        apiVersion: 'loam.dev/v1',
        kind: 'EgressPolicy',
        metadata: { name: `client-${documents.length}`, namespace: 'default' },
        spec: {
          selector: { matchLabels: { app: 'client' } },
          allow: all.slice(at, at + RULES_OF_A_POLICY),
        },
      }),
    );
  return documents.join('\n---\n');
}

interface Measured {
  readonly newconn_c16: { readonly qps: number; readonly p50_us: number; readonly cpu_client_s: number };
}

async function measure(): Promise<Measured['newconn_c16']> {
  const args = [PAIR, '--rounds', '1', '--phases', 'c', '--dur', values['duration-s']];
  const child = spawn('python3', [join(peersFolder(), 'measure.py'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: HARNESS_ENV,
  });
  const { stdout } = await finished(child);
  return (JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Measured).newconn_c16;
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;
}

console.error(harness('prepare.sh', []).trim());
console.error(harness('setup.sh', [PAIR], { PLAIN: PAIR }).trim());
const pods = podsOf(PAIR);
const loam = new LoamSides({
  ...{ name: 'bench-egress', pods, serve: ['client', 'server'] },
  ...{ rootCert: FAKE_CA.cert, rootKey: FAKE_CA.key, firstPort: FIRST_PORT, logLevel: 'warn' },
});
try {
  await loam.start();
  for (const side of ['client', 'server'] as const)
    writeFileSync(join(RUN_DIR, PAIR, `proxy-${side}.pid`), `${loam.pid(`ztunnel-${side}`)}\n`);
  const file = join(loam.folder, 'manifests', 'egress.yaml');
  const inForce = async (): Promise<number> => {
    const socketPath = join(loam.folder, 'controller.sock');
    const { objects } = (await askJson({ socketPath }, '/v1/status')) as ControllerStatus;
    const mine = objects.filter(({ kind }) => kind === 'EgressPolicy');
    return mine.filter(({ conditions }) =>
      conditions?.some(({ type, status }) => type === 'Enforced' && status === 'True'),
    ).length;
  };
  const samples: Record<'without' | 'with', Measured['newconn_c16'][]> = { without: [], with: [] };
  for (let round = 0; round < Number(values.rounds); round++)
    for (const what of ['without', 'with'] as const) {
      if (what === 'with') writeFileSync(file, policies(pods[1].ip));
      else rmSync(file, { force: true });
      const wanted = what === 'with' ? Math.ceil(rules / RULES_OF_A_POLICY) : 0;
      await until(`${wanted} policies to be in force`, async () => (await inForce()) === wanted);
      await sleep(SETTLE_MS);
      samples[what].push(await measure());
    }
  const rate = (what: 'without' | 'with'): number => median(samples[what].map(({ qps }) => qps));
  const latency = (what: 'without' | 'with'): number => median(samples[what].map(({ p50_us }) => p50_us));
  const cpu = (what: 'without' | 'with'): number =>
    median(
      samples[what].map(
        ({ cpu_client_s, qps }) => (cpu_client_s * 1e6) / (qps * Number(values['duration-s'])),
      ),
    );
  console.log(`| median of ${values.rounds} | no policy | ${rules} rules | ratio |\n|---|---|---|---|`);
  for (const [name, of, digits] of [
    ['new connections/s', rate, 0],
    ['p50, us', latency, 0],
    ["client ztunnel's CPU, us a connection", cpu, 1],
  ] as const)
    console.log(
      `| ${name} | ${of('without').toFixed(digits)} | ${of('with').toFixed(digits)} | ${(of('with') / of('without')).toFixed(3)} |`,
    );
} finally {
  for (const side of ['client', 'server']) writeFileSync(join(RUN_DIR, PAIR, `proxy-${side}.pid`), '');
  await loam.stop();
  harness('teardown.sh', [PAIR]);
}
