/**
 * The ring `conformance`: the Gateway API's own suite for meshes, in a cluster that is made for it. Its report is a file of the
 * repository.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import { ClusterError } from '../cluster/errors.ts';
import { single } from '../cluster/images.ts';
import { cacheFolder } from '../cluster/plan.ts';
import { buildPrograms, CONFORMANCE_PROGRAMS, fileOfModule } from '../cluster/programs.ts';
import { runClusterRing } from '../cluster/ring.ts';
import type { Tally } from '../tally.ts';
import { CORE_FEATURES, EXTENDED_FEATURES, PROFILES } from './features.ts';
import { tallyOfReport } from './report.ts';

/** The suite's module, which has the manifests of its applications. */
const SUITE = 'sigs.k8s.io/gateway-api/conformance';
/** Where the suite's applications are, by their names in its manifests. */
const NAMESPACES = ['gateway-conformance-mesh', 'gateway-conformance-mesh-consumer'];
const WAYPOINT = 'waypoint';
const LABELS = { 'loam.dev/dataplane-mode': 'ambient', 'loam.dev/use-waypoint': WAYPOINT };
/** Until a change must be in force, and the applications must run: a busy machine is no less conformant. */
const PATIENCE = 'MaxTimeToConsistency:120;NamespacesMustBeReady:900';
const TIMEOUT = '40m';
/** Until Loam runs, and each waypoint. */
const TIMEOUT_S = '900';
const REPORT = join('docs', 'conformance', 'gateway-api-mesh.yaml');

const say = (text: string): void => console.log(`    ${text}`);

/** Runs the suite, and writes its report in place of the one in docs/conformance. */
export async function runConformanceRing(): Promise<Tally> {
  let programs = '';
  return runClusterRing(
    (env) => runSuite(join(programs, 'conformance'), env['LOAM_TEST_CLUSTER'] ?? ''),
    async () => {
      programs = await buildPrograms(cacheFolder(), say, CONFORMANCE_PROGRAMS);
      const echo = join(programs, 'echo');
      const client = { kind: 'link', path: '/client', target: 'echo', mode: 0o777 } as const;
      return [await single(await applicationImage(), echo, [client])];
    },
  );
}

/** The image that the suite's manifests name, whose place our own application takes. */
async function applicationImage(): Promise<string> {
  const manifests = await fileOfModule('conformance', SUITE, join('mesh', 'manifests.yaml'));
  const [name, ...others] = new Set([...manifests.matchAll(/^\s*image: (\S+)$/gm)].map(([, image]) => image));
  if (name === undefined || others.length > 0)
    throw new ClusterError('CLUSTER_BUILD', `${SUITE} names no image, or several, for its applications`);
  return name;
}

async function runSuite(suite: string, told: string): Promise<Tally> {
  const env = { ...process.env, KUBECONFIG: join(told, 'kubeconfig') };
  const loam = [process.execPath, join(packageRoot(), 'dist', 'cli', 'main.js')] as const;
  await must([...loam, 'install', '--timeout', TIMEOUT_S], env);
  // The suite puts its applications into namespaces that are there already, with a waypoint before all that is in them.
  const kubectl = join(readFileSync(join(told, 'programs'), 'utf8').trim(), 'kubectl');
  const labels = Object.entries(LABELS).map(([key, value]) => `${key}=${value}`);
  for (const namespace of NAMESPACES) {
    await must([kubectl, 'create', 'namespace', namespace], env);
    await must([kubectl, 'label', 'namespace', namespace, ...labels], env);
    const wanted = ['waypoint', 'apply', WAYPOINT, '-n', namespace, '--for', 'all', '--wait'];
    await must([...loam, ...wanted, '--timeout', TIMEOUT_S], env);
  }
  const report = join(packageRoot(), REPORT);
  mkdirSync(dirname(report), { recursive: true });
  rmSync(report, { force: true });
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
    version: string;
  };
  const code = await run(
    [
      suite,
      ...['-test.v', '-test.run=^TestConformance$', `-test.timeout=${TIMEOUT}`],
      `-conformance-profiles=${PROFILES.join()}`,
      `-supported-features=${[...CORE_FEATURES, ...EXTENDED_FEATURES].join()}`,
      `-namespace-labels=${labels.join()}`,
      `-timeout-config-overrides=${PATIENCE}`,
      ...['-organization=loam', '-project=loam', '-url=https://loam.dev', `-version=${version}`],
      ...['-contact=https://loam.dev', `-report-output=${report}`],
    ],
    env,
  );
  say(existsSync(report) ? `report: ${relative(packageRoot(), report)}` : '✗ the suite wrote no report');
  return tallyOfReport(existsSync(report) ? readFileSync(report, 'utf8') : undefined, code);
}

async function must(command: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const code = await run(command, env);
  if (code !== 0) throw new ClusterError('CLUSTER_STATE', `${command.join(' ')} ended with ${code}`);
}

/** Runs a command, whose output is shown as it comes. @returns its exit code */
function run([file = '', ...args]: readonly string[], env: NodeJS.ProcessEnv): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: packageRoot(), env, stdio: ['ignore', 'inherit', 'inherit'] });
    child.once('error', reject);
    child.once('close', resolve);
  });
}
