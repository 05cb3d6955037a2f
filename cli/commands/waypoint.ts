import { Command, Option } from 'commander';
import { stringify } from 'yaml';
import { ClusterApi, type ClusterChoice } from '../install/cluster/api.ts';
import { InstallError } from '../install/errors.ts';
import { applyWaypoint, useInNamespace, waitForWaypoint } from '../waypoints/apply.ts';
import { gatewayManifest, gateways, needGateway, type WaypointWish } from '../waypoints/gateway.ts';
import { healthOf, isWell, type WaypointHealth } from '../waypoints/health.ts';
import { DEFAULT_WAYPOINT_FOR, WAYPOINT_FOR, type WaypointFor } from '../waypoints/model.ts';
import { removeWaypoints } from '../waypoints/remove.ts';
import { listText, statusText } from '../waypoints/text.ts';
import { print, withOutput, write, type Format } from '../output/print.ts';
import { say } from '../output/say.ts';
import { helpText } from './mesh-options.ts';
import { usersOfWaypoints } from '../waypoints/users.ts';

const EXITS = '0 done, 1 it could not be, 2 what was given is not usable';
const DEFAULT_NAME = 'waypoint';
const DEFAULT_TIMEOUT_S = 120;
const MAX_REPLICAS = 32;
/** A DNS label: the waypoint's Service has the name as well. */
const LABEL = /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;
const NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

interface Flags extends ClusterChoice {
  readonly namespace?: string;
  readonly output: Format;
}

function onCluster(command: Command): Command {
  return command
    .option('-n, --namespace <name>', "namespace of the waypoint; by default the kubeconfig's, or default")
    .option('--kubeconfig <file>', 'which cluster, and as whom; by default KUBECONFIG or ~/.kube/config')
    .option('--context <name>', 'context of the kubeconfig');
}

function checked(what: string, value: string, pattern: RegExp): string {
  if (pattern.test(value)) return value;
  throw new InstallError(
    'INSTALL_INPUT',
    `${what} ${JSON.stringify(value)} is not usable; allowed: 1 to 63 of a-z, 0-9 and -${pattern === LABEL ? ', beginning with a letter' : ''}`,
  );
}

function namespaceOf({ namespace }: Flags, api: ClusterApi | undefined): string {
  return checked('--namespace', namespace ?? api?.namespace ?? 'default', NAMESPACE);
}

interface ApplyFlags extends Flags {
  readonly for: WaypointFor;
  readonly replicas?: string;
  readonly allowFrom: 'same' | 'all';
  readonly useInNamespace?: boolean;
  readonly wait?: boolean;
  readonly timeout: string;
  readonly dryRun?: boolean;
}

function wishOf(name: string, namespace: string, flags: ApplyFlags): WaypointWish {
  const replicas = flags.replicas === undefined ? undefined : Number(flags.replicas);
  if (replicas !== undefined && !(Number.isInteger(replicas) && replicas >= 1 && replicas <= MAX_REPLICAS))
    throw new InstallError(
      'INSTALL_INPUT',
      `--replicas ${JSON.stringify(flags.replicas)} is not usable; allowed: a whole number from 1 to ${MAX_REPLICAS}`,
    );
  return {
    name: checked('the name', name, LABEL),
    ...{ namespace, replicas, for: flags.for },
    from: flags.allowFrom === 'all' ? 'All' : 'Same',
  };
}

function timeoutOf({ timeout }: ApplyFlags): number {
  const seconds = Number(timeout);
  if (Number.isFinite(seconds) && seconds > 0) return seconds * 1000;
  throw new InstallError(
    'INSTALL_INPUT',
    `--timeout ${JSON.stringify(timeout)} is not a number of seconds above 0`,
  );
}

async function apply(name: string, flags: ApplyFlags): Promise<void> {
  const timeoutMs = timeoutOf(flags);
  if (flags.dryRun === true) {
    // Of the kubeconfig only the namespace could count, which is no reason to need one.
    const api = flags.namespace === undefined ? await ClusterApi.open(flags) : undefined;
    const manifest = gatewayManifest(wishOf(name, namespaceOf(flags, api), flags));
    // A manifest is YAML to people.
    return flags.output === 'text' ? write(stringify(manifest)) : print(flags.output, manifest, () => []);
  }
  const wish = wishOf(name, flags.namespace ?? '', flags);
  const api = await ClusterApi.open(flags);
  const namespace = namespaceOf(flags, api);
  const wanted = { ...wish, namespace };
  const gateway = await applyWaypoint(api, wanted);
  const quiet = flags.output !== 'text';
  if (!quiet) say(`waypoint ${namespace}/${name} is applied`);
  // First it takes traffic, then it is asked for it.
  const health =
    flags.wait === true
      ? await waitForWaypoint(api, wanted, { timeoutMs, say: quiet ? () => undefined : say })
      : undefined;
  if (flags.useInNamespace === true) await useInNamespace(api, wanted);
  if (quiet) return print(flags.output, health ?? gateway, () => []);
  if (health !== undefined)
    say(`waypoint ${namespace}/${name}: ${health.replicas.ready} of ${health.replicas.wanted} ready`);
  if (flags.useInNamespace === true) say(`namespace ${namespace} uses it`);
  else if ((health?.users.length ?? 0) === 0)
    say(
      `put it before a Service: kubectl label service NAME -n ${namespace} loam.dev/use-waypoint=${name}; or before all of the namespace: --use-in-namespace`,
    );
}

async function healths(api: ClusterApi, namespace: string | undefined): Promise<WaypointHealth[]> {
  const users = await usersOfWaypoints(api);
  const found = await gateways(api, namespace);
  return Promise.all(found.map((gateway) => healthOf(api, gateway, users)));
}

async function list(flags: Flags & { readonly allNamespaces?: boolean }): Promise<void> {
  const api = await ClusterApi.open(flags);
  const namespace = flags.allNamespaces === true ? undefined : namespaceOf(flags, api);
  const found = await healths(api, namespace);
  if (flags.output !== 'text') return print(flags.output, found, () => []);
  if (found.length === 0)
    return say(
      `there is no waypoint ${namespace === undefined ? 'in any namespace' : `in namespace ${namespace} (-A looks in all)`}; loam waypoint apply makes one`,
    );
  for (const line of listText(found)) say(line);
}

async function status(name: string | undefined, flags: Flags): Promise<void> {
  const api = await ClusterApi.open(flags);
  const namespace = namespaceOf(flags, api);
  const found =
    name === undefined
      ? await healths(api, namespace)
      : [await healthOf(api, await needGateway(api, namespace, name), await usersOfWaypoints(api))];
  if (found.length === 0)
    throw new InstallError(
      'INSTALL_STATE',
      `there is no waypoint in namespace ${namespace}; loam waypoint list -A shows all, loam waypoint apply makes one`,
    );
  if (flags.output !== 'text') await print(flags.output, found, () => []);
  else for (const line of found.flatMap(statusText)) say(line);
  if (!found.every(isWell)) process.exitCode = 1;
}

interface DeleteFlags extends Flags {
  readonly all?: boolean;
  readonly force?: boolean;
}

async function remove(names: readonly string[], flags: DeleteFlags): Promise<void> {
  if ((flags.all === true) === names.length > 0)
    throw new InstallError('INSTALL_INPUT', 'name the waypoints to delete, or give --all, and not both');
  const api = await ClusterApi.open(flags);
  const namespace = namespaceOf(flags, api);
  const wanted =
    flags.all === true ? (await gateways(api, namespace)).map(({ metadata }) => metadata.name) : names;
  if (wanted.length === 0) return say(`there is no waypoint in namespace ${namespace}`);
  await removeWaypoints(api, namespace, wanted, { force: flags.force === true, say });
}

/** `loam waypoint`: waypoints of a cluster. */
export function waypointCommand(): Command {
  return new Command('waypoint')
    .description('make, look at and delete waypoints in a Kubernetes cluster')
    .addCommand(applyCommand())
    .addCommand(
      withOutput(onCluster(new Command('list')))
        .description('waypoints, how they are, and who uses them')
        .option('-A, --all-namespaces', 'of all namespaces')
        .addHelpText(
          'after',
          helpText(
            [
              ['loam waypoint list -n shop', ''],
              ['loam waypoint list -A -o json', 'for scripts'],
            ],
            EXITS,
          ),
        )
        .action(list),
    )
    .addCommand(
      withOutput(onCluster(new Command('status')))
        .argument('[name]', 'of one; without it, all of the namespace')
        .description('all about a waypoint, and what keeps it from working')
        .addHelpText(
          'after',
          helpText(
            [
              ['loam waypoint status -n shop', ''],
              ['loam waypoint status waypoint -n shop -o json', 'for scripts'],
            ],
            '0 all is well, 1 something is not, or it cannot be told, 2 what was given is not usable',
          ),
        )
        .action(status),
    )
    .addCommand(
      onCluster(new Command('delete'))
        .argument('[name...]', 'which')
        .description('delete waypoints with all that was made for them; not while something asks for one')
        .option('--all', 'all of the namespace')
        .option('--force', 'also while something asks for it: connections to that are refused from then on')
        .addHelpText(
          'after',
          helpText(
            [
              ['loam waypoint delete waypoint -n shop', ''],
              ['loam waypoint delete --all -n shop', ''],
            ],
            EXITS,
          ),
        )
        .action(remove),
    );
}

function applyCommand(): Command {
  return withOutput(onCluster(new Command('apply')))
    .argument('[name]', 'of the Gateway, and of all that is made for it', DEFAULT_NAME)
    .description('make a waypoint, or change it to what is said here')
    .addOption(
      new Option('--for <traffic>', 'what it takes: sent to Services, to pods by their address, or both')
        .choices(WAYPOINT_FOR)
        .default(DEFAULT_WAYPOINT_FOR),
    )
    .option('--replicas <number>', `how many instances (1 to ${MAX_REPLICAS}); without it, left to others`)
    .addOption(
      new Option('--allow-from <namespaces>', 'whose Services may have it: of its own namespace, or of all')
        .choices(['same', 'all'])
        .default('same'),
    )
    .option('--use-in-namespace', 'put it before all Services of its namespace, by a label')
    .option('--wait', 'return when it takes traffic')
    .option('--timeout <seconds>', 'how long to wait', String(DEFAULT_TIMEOUT_S))
    .option('--dry-run', 'print the Gateway and change nothing')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam waypoint apply -n shop --wait --use-in-namespace', 'one for all Services of shop'],
          ['loam waypoint apply payments -n shop --replicas 2', 'one of two instances, for who asks for it:'],
          ['kubectl label service payments -n shop loam.dev/use-waypoint=payments', ''],
          ['loam waypoint apply -n shop --dry-run', 'only the manifest, for a repository'],
        ],
        EXITS,
      ),
    )
    .action(apply);
}
