import { Command } from 'commander';
import { takeDown } from '../local/down.ts';
import { LocalMeshError } from '../local/errors.ts';
import { execInPod, findPod } from '../local/exec.ts';
import { checkMeshName, DEFAULT_MESH } from '../local/names.ts';
import { notInForce, problemsOf, waitingText } from '../local/problems.ts';
import { statusText } from '../local/status-text.ts';
import { meshStatus, supervisorReport, type MeshStatus } from '../local/status.ts';
import { checkManifests, runningMesh, startSupervisor, waitUntilReady } from '../local/up.ts';
import { readPrograms, REPLACEABLE, upgradeMesh } from '../local/upgrade.ts';
import { warningsOf } from '../local/warnings.ts';
import { printableJson, printableText } from '../output/printable.ts';
import { complain, say } from '../output/say.ts';
import { EXIT_NO, helpText } from './mesh-options.ts';

const DEFAULT_TIMEOUT_S = 60;
/** `up`: the mesh runs, but not all that its manifests ask for is in force. */
const EXIT_NOT_IN_FORCE = 3;

interface NameOption {
  readonly name: string;
}

async function up(dir: string, options: NameOption & { timeout: string }): Promise<void> {
  const mesh = checkMeshName(options.name);
  const manifests = checkManifests(dir);
  const timeoutS = Number(options.timeout);
  if (!Number.isFinite(timeoutS) || timeoutS <= 0)
    throw new LocalMeshError(
      'LOCAL_MESH_INPUT',
      `--timeout ${JSON.stringify(options.timeout)} is not a number of seconds above 0`,
    );
  const running = await runningMesh(mesh);
  if (running !== undefined && running.manifests !== manifests)
    throw new LocalMeshError(
      'LOCAL_MESH_STATE',
      `the mesh ${mesh} runs already, of ${running.manifests}: take it down first, or name another with --name`,
    );
  if (running !== undefined) say(`The mesh ${mesh} runs already, and follows ${manifests} by itself.`);
  // The supervisor is a process of its own and goes on: say so, instead of leaving it unmentioned.
  process.once('SIGINT', () => {
    say(`\nThe mesh ${mesh} goes on starting; to remove it: loam local down --name ${mesh}`);
    process.exit(130);
  });
  const supervisor = running === undefined ? startSupervisor({ mesh, manifests }) : undefined;
  const status = await waitUntilReady(
    {
      mesh,
      timeoutMs: timeoutS * 1000,
      onWaiting: (problems) => say(`waiting for ${waitingText(problems)}`),
    },
    supervisor,
  );
  sayStarted(mesh, manifests, status);
}

/** Says how the mesh is, and by the exit code whether something that its author wrote is missing from it. */
function sayStarted(mesh: string, manifests: string, status: MeshStatus): void {
  const { nodes, pods } = status.report;
  say(
    `The mesh ${mesh} is ready: ${counted(nodes.length, 'node')}, ${counted(pods.length, 'pod')}, manifests in ${manifests}`,
  );
  if (pods.length === 0) say('No Pod is in force there, so that nothing runs yet.');
  for (const { what, why } of warningsOf(status)) say(`warning: ${what}: ${why}`);
  const missing = notInForce(status);
  for (const { what, why } of problemsOf(status))
    if (!missing.some((each) => each.what === what && each.why === why)) say(`but ${what}: ${why}`);
  if (missing.length === 0) return;
  for (const { what, why } of missing) complain(`NOT IN FORCE: ${what}: ${why}`);
  complain(
    `The mesh ${mesh} runs without what is NOT IN FORCE: mend it, and the mesh follows; to remove it: loam local down --name ${mesh}`,
  );
  process.exitCode = EXIT_NOT_IN_FORCE;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

async function down(options: NameOption): Promise<void> {
  const result = await takeDown(options.name);
  if (result.was === 'running') say(`The mesh ${options.name} is gone.`);
  else if (result.was === 'absent') say(`There is no mesh ${options.name}.`);
  else say(`The mesh ${options.name} did not run; removed what was left: ${result.found.join(', ')}.`);
}

async function reportOf(name: string): Promise<Awaited<ReturnType<typeof supervisorReport>>> {
  const report = await runningMesh(checkMeshName(name));
  if (report === undefined)
    throw new LocalMeshError(
      'LOCAL_MESH_STATE',
      `there is no mesh ${name}; start one: loam local up DIR${name === DEFAULT_MESH ? '' : ` --name ${name}`}`,
    );
  return report;
}

async function exec(podName: string, command: string[], options: NameOption): Promise<void> {
  const [file, ...args] = command;
  if (file === undefined)
    throw new LocalMeshError('LOCAL_MESH_INPUT', 'which command? loam local exec POD -- CMD');
  const report = await reportOf(options.name);
  process.exitCode = await execInPod(report, findPod(report, podName), [file, ...args]);
}

async function status(options: NameOption & { json?: boolean }): Promise<void> {
  await reportOf(options.name);
  const all = await meshStatus(options.name);
  const problems = problemsOf(all);
  const text =
    options.json === true
      ? printableJson(`${JSON.stringify({ ...all, problems }, null, 2)}\n`)
      : printableText(statusText(all));
  process.stdout.write(text);
  process.exitCode = problems.length === 0 ? 0 : EXIT_NO;
}

async function upgrade(options: NameOption & { node?: string; program: string }): Promise<void> {
  const programs = readPrograms(options.program);
  await reportOf(options.name);
  const { node } = options;
  const done = await upgradeMesh(options.name, { programs, ...(node === undefined ? {} : { node }) });
  for (const { program, node: of, instance, pid, formerPid } of done) {
    const what = instance === undefined ? `${program} of ${of}` : `waypoint ${instance} on ${of}`;
    const leaves =
      program === 'agent' ? `${formerPid} ended before` : `${formerPid} serves what was open, and ends`;
    say(`${what}: ${pid} took over${formerPid === undefined ? '' : `; ${leaves}`}`);
  }
}

/** `loam local …`: the mesh on this machine alone. */
export function localCommand(): Command {
  const local = new Command('local').description(
    'a whole mesh on this machine: nodes and pods are network namespaces, configuration is a directory of manifests',
  );
  const named = (command: Command): Command =>
    command.option('--name <mesh>', 'which mesh, where there are several', DEFAULT_MESH);
  named(local.command('up'))
    .description('start the mesh of a directory of manifests, and return when it is ready')
    .argument('<dir>', 'directory of Kubernetes manifests; edit them, and the mesh follows')
    .option('--timeout <seconds>', 'how long to wait until it is ready', String(DEFAULT_TIMEOUT_S))
    .addHelpText(
      'after',
      helpText(
        [
          ['loam local up deploy/examples/shop', ''],
          ['loam local up my-shop --name second', 'a mesh beside the first'],
        ],
        `0 it is ready, ${EXIT_NOT_IN_FORCE} it runs, and something was rejected and is not in force, 1 it does not run, 2 what was given is not usable`,
      ),
    )
    .action(up);
  named(local.command('down'))
    .description('end the mesh and remove all of it')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam local down', ''],
          ['loam local down --name second', ''],
        ],
        '0 nothing of it is left, 1 something is, 2 what was given is not usable',
      ),
    )
    .action(down);
  named(local.command('exec'))
    .description('run a command in a pod')
    .argument('<pod>', '`namespace/name`, or a name that only one pod has')
    .argument('<command...>', 'after --, as in: loam local exec shop/frontend -- curl -s http://auth/')
    .showHelpAfterError(
      'put -- before the command, as in: loam local exec shop/frontend -- curl -s http://auth/',
    )
    .addHelpText(
      'after',
      helpText(
        [
          ['loam local exec shop/frontend -- curl -s http://auth/', ''],
          ['loam local exec db -- redis-cli ping', ''],
        ],
        'those of the command; 1 it could not be run, 2 what was given is not usable',
      ),
    )
    .action(exec);
  named(local.command('status'))
    .description('how the nodes, programs, pods and objects are')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      helpText(
        [
          ['loam local status', ''],
          ['loam local status --json', 'for scripts'],
        ],
        `0 all is well, ${EXIT_NO} something is not, 1 it cannot be told, 2 what was given is not usable`,
      ),
    )
    .action(status);
  named(local.command('upgrade'))
    .description(
      'replace agents, ztunnels and waypoints by those of this installation, one after the other: new connections go to the new ones, open ones are served to their end by the former',
    )
    .option('--node <node>', 'on this one only')
    .option('--program <names>', 'these only, with commas between', REPLACEABLE.join())
    .addHelpText(
      'after',
      helpText(
        [
          ['loam local upgrade', ''],
          ['loam local upgrade --node node-a --program ztunnel', ''],
        ],
        '0 done, 1 it could not be, 2 what was given is not usable',
      ),
    )
    .action(upgrade);
  return local;
}
