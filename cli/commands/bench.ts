import { spawn } from 'node:child_process';
import { Command } from 'commander';
import { peersFolder } from '../test-rings/rings.ts';
import { existsSync } from 'node:fs';
import { siblingModule } from '../../lib/package-root.ts';
import { complain } from '../output/say.ts';
import { helpText } from './mesh-options.ts';

const EXITS = '0 measured, 1 it could not be, 2 what was given is not usable';

/** The options of `loam bench waypoint`, handed on as they are; see bench/waypoint/main.ts. */
const WAYPOINT_OPTIONS = ['rounds', 'duration-s', 'connections', 'idle', 'routes', 'only'] as const;

/** `loam bench waypoint`: Loam's waypoint and HAProxy on the same route, mutual TLS on both legs. */
function waypointCommand(): Command {
  return new Command('waypoint')
    .description("measure Loam's waypoint beside HAProxy, with mutual TLS on both legs of both")
    .option('--rounds <n>', 'how often each is measured, anew each time', '3')
    .option('--duration-s <n>', 'how long the busy measurement takes', '10')
    .option('--connections <n>', 'busy client connections', '64')
    .option('--idle <n>', 'idle client connections for the memory of one', '1000')
    .option('--routes <list>', 'how many routes there are', '5,5000')
    .option('--only <list>', 'of haproxy, loam', 'haproxy,loam')
    .addHelpText('after', helpText([['loam bench waypoint --rounds 2 --duration-s 5', '']], EXITS))
    .action(async (_options: unknown, command: Command) => {
      // An option that the outer command has as well is its, wherever it stands.
      const values: Readonly<Record<string, unknown>> = command.optsWithGlobals();
      const args = WAYPOINT_OPTIONS.flatMap((name) => {
        const key = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
        return [`--${name}`, String(values[key])];
      });
      await runModule('../../bench/waypoint/main', args);
    });
}

/** Whether the harness of the peers is there; says so where it is not. */
function hasPeers(): boolean {
  if (existsSync(peersFolder())) return true;
  complain(`loam bench: missing ${peersFolder()}: the Rust ztunnel and its harness (not part of the clone)`);
  process.exitCode = 1;
  return false;
}

/** `loam bench egress`: new connections per second with and without an EgressPolicy. */
function egressCommand(): Command {
  return new Command('egress')
    .description('measure what an EgressPolicy costs a new connection')
    .option('--rounds <n>', 'how often each is measured', '5')
    .option('--duration-s <n>', 'how long one measurement takes', '10')
    .option('--rules <n>', 'how many rules there are', '100')
    .addHelpText('after', helpText([['loam bench egress --rules 100', '']], EXITS))
    .action(async (_options: unknown, command: Command) => {
      if (!hasPeers()) return;
      const { rounds, durationS, rules } = command.optsWithGlobals<Record<string, string>>();
      const args = ['--rounds', rounds, '--duration-s', durationS, '--rules', rules].map(String);
      await runModule('../../bench/egress', args);
    });
}

/** `loam bench cluster`: what was measured with Istio ambient, measured with Loam in a Kubernetes cluster made for it. */
function clusterCommand(): Command {
  return new Command('cluster')
    .description('label, roll out, kill and deny under load, in a Kubernetes cluster that is made for it')
    .option(
      '--only <list>',
      'of label, start, rollout, kill, away, deny, idle',
      'label,start,rollout,kill,away,deny,idle',
    )
    .option('--rounds <n>', 'how often a namespace is labelled', '4')
    .addHelpText('after', helpText([['loam bench cluster --only label,kill', '']], EXITS))
    .action(async (_options: unknown, command: Command) => {
      const { only, rounds } = command.optsWithGlobals<Record<string, string>>();
      await runModule('../../bench/cluster/main', ['--only', String(only), '--rounds', String(rounds)]);
    });
}

async function runModule(path: string, args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [siblingModule(import.meta.url, path).pathname, ...args], {
    stdio: 'inherit',
  });
  process.exitCode = await new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}

/** `loam bench`: a direct connection, Istio's Rust ztunnel and Loam's, measured in turns; ends with a table of medians. */
export function benchCommand(): Command {
  return new Command('bench')
    .description("measure Loam's ztunnel beside a direct connection and Istio's Rust ztunnel")
    .option('--rounds <n>', 'how often each pair is measured', '3')
    .option('--phases <list>', 'a bulk, b requests, c new connections, d memory', 'a,b,c,d')
    .option('--duration-s <n>', 'how long one measurement takes', '10')
    .addHelpText('after', helpText([['loam bench --rounds 3', '']], EXITS))
    .action(async (options: { rounds: string; phases: string; durationS: string }) => {
      if (!hasPeers()) return;
      const args = [
        '--rounds',
        options.rounds,
        '--phases',
        options.phases,
        '--duration-s',
        options.durationS,
      ];
      await runModule('../../bench/peers', args);
    })
    .addCommand(waypointCommand())
    .addCommand(egressCommand())
    .addCommand(clusterCommand());
}
