import { Command } from 'commander';
import { stringify } from 'yaml';
import { errorText } from '../../lib/loam-error.ts';
import { ClusterApi } from '../install/cluster/api.ts';
import { definitions } from '../install/crds.ts';
import { InstallError } from '../install/errors.ts';
import { namespaceOf, objectsOf } from '../install/render/objects.ts';
import { marked } from '../install/ownership.ts';
import { partsOf } from '../install/parts.ts';
import { prune, rollOut } from '../install/roll-out.ts';
import { check, findingText } from '../install/check/check.ts';
import type { Finding } from '../install/check/finding.ts';
import { PodExec } from '../install/cluster/exec.ts';
import { uninstall } from '../install/uninstall.ts';
import { whatStays } from '../install/what-stays.ts';
import { type Installed, installedIn } from '../install/state.ts';
import { valuesOf, valuesOfFile, valuesOfSet } from '../install/values.ts';
import { DEFAULT_MESH } from '../local/names.ts';
import { seenMeshes } from '../local/seen-meshes.ts';
import { print as tell, withOutput, type OutputFlag } from '../output/print.ts';
import { say } from '../output/say.ts';
import { namespaceOfFlags, onCluster, timeoutOf, type ClusterOptions } from './cluster-options.ts';
import { helpText } from './mesh-options.ts';

const DEFAULT_TIMEOUT_S = 300;
const EXITS = '0 done, 1 it could not be, 2 what was given is not usable';

interface RollOutFlags extends ClusterOptions {
  readonly set: readonly string[];
  readonly values: readonly string[];
  readonly timeout: string;
  readonly wait: boolean;
}

const repeated = (value: string, list: readonly string[]): string[] => [...list, value];

function withValues(command: Command): Command {
  return command
    .option(
      '--set <key=value>',
      'a value of the chart (deploy/chart/values.yaml); may be repeated',
      repeated,
      [],
    )
    .option('-f, --values <file>', 'a file of values; may be repeated', repeated, [])
    .option('--timeout <seconds>', 'how long to wait for each program', String(DEFAULT_TIMEOUT_S))
    .option('--no-wait', 'return when everything is applied');
}

function layersOf({ set, values }: RollOutFlags): Readonly<Record<string, unknown>>[] {
  return [...values.map(valuesOfFile), ...set.map(valuesOfSet)];
}

/** Until all of it is taken: the command ends right after. */
function print(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(text, () => resolve()));
}

async function install(options: RollOutFlags & { dryRun?: boolean }): Promise<void> {
  const installation = { namespace: namespaceOfFlags(options), values: valuesOf(layersOf(options)) };
  const timeoutMs = timeoutOf(options);
  if (options.dryRun === true) {
    const objects = [...definitions(), namespaceOf(installation), ...objectsOf(installation)];
    await print(
      objects.map((object) => `---\n${stringify(marked(object), { aliasDuplicateObjects: false })}`).join(''),
    );
    return;
  }
  const api = await ClusterApi.open(options);
  const found = await installedIn(api, installation.namespace);
  if (found !== undefined)
    throw new InstallError(
      'INSTALL_STATE',
      `Loam is installed in ${installation.namespace} already, by ${found.by === 'helm' ? 'Helm: helm upgrade changes it' : 'loam: loam upgrade changes it'}`,
    );
  await rollOut(api, installation, { say, timeoutMs, wait: options.wait });
  if (!options.wait)
    return say(`nothing was waited for: kubectl get pods --namespace ${installation.namespace}`);
  say(`Loam is installed in ${installation.namespace} of ${api.server}`);
  say(
    'Label a namespace, and its pods are in the mesh: kubectl label namespace NAME loam.dev/dataplane-mode=ambient',
  );
}

async function upgrade(options: RollOutFlags & { resetValues?: boolean }): Promise<void> {
  const namespace = namespaceOfFlags(options);
  const timeoutMs = timeoutOf(options);
  const given = layersOf(options);
  const api = await ClusterApi.open(options).catch((error: unknown) => {
    throw orOfLocalMesh(error, seenMeshes());
  });
  const found = await installedIn(api, namespace);
  if (found === undefined)
    throw new InstallError(
      'INSTALL_STATE',
      (await partsOf(api, namespace)).length > 0
        ? `the installation in ${namespace} is unfinished: loam install --set image=… does it again, from where it was`
        : `Loam is not installed in ${namespace}: loam install`,
    );
  if (found.by === 'helm')
    throw new InstallError('INSTALL_STATE', `Helm keeps the installation in ${namespace}: helm upgrade`);
  const values = valuesOf(options.resetValues === true ? given : [found.values, ...given]);
  await rollOut(api, { namespace, values }, { say, timeoutMs, wait: options.wait });
  await prune(api, { namespace, values }, say);
  say(options.wait ? `Loam in ${namespace} is up to date` : 'nothing was waited for');
}

/** Whoever has no cluster and a local mesh may mean that one. @param meshes those that run here */
export function orOfLocalMesh(error: unknown, meshes: readonly string[]): unknown {
  const [mesh] = meshes;
  if (!(error instanceof InstallError) || mesh === undefined) return error;
  const name = meshes.includes(DEFAULT_MESH) ? '' : ` --name ${mesh}`;
  return new InstallError(error.code, `${error.message}; for the local mesh: loam local upgrade${name}`, {
    cause: error.cause,
  });
}

interface UninstallFlags extends ClusterOptions {
  readonly timeout: string;
  readonly grace: string;
  readonly abandonNodes?: boolean;
  readonly image?: string;
}

async function remove(options: UninstallFlags): Promise<void> {
  const namespace = namespaceOfFlags(options);
  const graceSeconds = Number(options.grace);
  if (!Number.isInteger(graceSeconds) || graceSeconds < 0)
    throw new InstallError(
      'INSTALL_INPUT',
      `--grace ${JSON.stringify(options.grace)} is not a whole number of seconds`,
    );
  const timeoutMs = timeoutOf(options);
  const api = await ClusterApi.open(options);
  const { abandonNodes = false, image } = options;
  const { cni } = valuesOf([]);
  await uninstall(api, { namespace, timeoutMs, say, abandonNodes, graceSeconds, image, cni });
  say('Loam is uninstalled.');
  for (const line of await whatStays(api)) say(line);
}

async function checkAll(options: ClusterOptions & OutputFlag): Promise<void> {
  const namespace = namespaceOfFlags(options);
  const api = await ClusterApi.open(options);
  let installed: Installed | undefined;
  let unknown: string | undefined;
  try {
    installed = await installedIn(api, namespace);
  } catch (error) {
    unknown = errorText(error);
  }
  const subject = { api, pods: new PodExec(api.config), namespace, installed, unknown, now: Date.now };
  const findings: Finding[] = [];
  const good = await check(subject, (finding) => {
    findings.push(finding);
    // People see each line as soon as it is known.
    if (options.output === 'text') say(findingText(finding));
  });
  if (options.output !== 'text') await tell(options.output, { good, findings }, () => []);
  process.exitCode = good ? 0 : 1;
}

/** `loam install`: Loam into a cluster. */
export function installCommand(): Command {
  return withValues(onCluster(new Command('install')))
    .description('install Loam into a Kubernetes cluster, and return when it runs')
    .option('--dry-run', 'print the objects as YAML and change nothing')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam install --set image=localhost/loam:dev', 'of an image that the nodes have'],
          ['loam install -f values.yaml --dry-run | kubectl diff -f -', 'what it would change'],
          [
            'loam install --set image=localhost/loam:dev --set ca.secret=cacerts',
            'with an authority of yours',
          ],
        ],
        EXITS,
      ),
    )
    .action(install);
}

/** `loam upgrade`: other values, or this version's programs. */
export function upgradeCommand(): Command {
  return withValues(onCluster(new Command('upgrade')))
    .description(
      'bring an installation to this version of Loam, or to other values; what is not named stays as it is',
    )
    .option('--reset-values', 'begin with the default values again')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam upgrade --set image=localhost/loam:next', 'the programs of another image'],
          ['loam upgrade --set logLevel=debug', 'one value; the others stay'],
        ],
        EXITS,
      ),
    )
    .action(upgrade);
}

/** `loam uninstall`: plain networking for every pod, and nothing left. */
export function uninstallCommand(): Command {
  return onCluster(new Command('uninstall'))
    .description(
      'take Loam out of a cluster: every pod has plain networking again, and nothing is left in any kernel',
    )
    .option('--timeout <seconds>', 'how long to wait for the nodes', String(DEFAULT_TIMEOUT_S))
    .option('--grace <seconds>', 'how long ztunnels may serve what is open', '30')
    .option('--abandon-nodes', 'go on without nodes that are not ready')
    .option('--image <image>', "what cleans the nodes, where the agents' image cannot be had")
    .addHelpText(
      'after',
      helpText(
        [
          ['loam uninstall', ''],
          ['loam uninstall --grace 600', 'ten minutes for what is open'],
          ['loam uninstall --abandon-nodes', 'though a node is lost'],
        ],
        EXITS,
      ),
    )
    .action(remove);
}

/** `loam check`: what is wrong, and how it is mended. */
export function checkCommand(): Command {
  return withOutput(onCluster(new Command('check')))
    .description('look for what keeps Loam from working, before an installation and after')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam check', ''],
          ['loam check -o json | jq \'.findings[] | select(.state == "fail")\'', 'for scripts'],
        ],
        '0 nothing keeps Loam from working, 1 something does, or it cannot be told, 2 what was given is not usable',
      ),
    )
    .action(checkAll);
}
