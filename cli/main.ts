import { inspect } from 'node:util';
import { Command } from 'commander';
import { requireKernel } from '../lib/linux/bpf/kernel-check.ts';
import { errorText, LoamError } from '../lib/loam-error.ts';
import { printableText } from './output/printable.ts';
import { benchCommand } from './commands/bench.ts';
import { bugReportCommand } from './commands/bug-report.ts';
import { completionCommand } from './commands/completion.ts';
import { configCommand } from './commands/config.ts';
import { dashboardCommand } from './commands/dashboard.ts';
import { demoCommand } from './commands/demo.ts';
import { imageCommand } from './commands/image.ts';
import { checkCommand, installCommand, uninstallCommand, upgradeCommand } from './commands/install.ts';
import { graphCommand, tapCommand, topCommand } from './commands/live.ts';
import { localCommand } from './commands/local.ts';
import { logLevelCommand } from './commands/log-level.ts';
import { certsCommand, connectionsCommand, describeCommand } from './commands/look.ts';
import { tellMissing } from './commands/mesh-options.ts';
import { offCommand, onCommand } from './commands/off.ts';
import { policyCommand } from './commands/policy.ts';
import { statusCommand } from './commands/status.ts';
import { testCommand } from './commands/test.ts';
import { verifyCommand } from './commands/verify.ts';
import { ownVersion } from './version.ts';
import { waypointCommand } from './commands/waypoint.ts';
import { whyCommand } from './commands/why.ts';

/** Commands that load BPF programs, here or in a process of theirs. */
const NEED_KERNEL = new Set(['demo', 'up', 'bench']);

/** Codes of what the user gave and is not usable. */
const INPUT_ERRORS = new Set<string>(['LOCAL_MESH_INPUT', 'INSTALL_INPUT', 'MESH_INPUT']);

/** As a shell reports a process that SIGPIPE ended. */
const EXIT_SIGPIPE = 141;

// What a command has started ends with it, so that nothing is left to do.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // `loam … | head`: nobody reads any more, and that is no fault.
  if (error.code === 'EPIPE') process.exit(EXIT_SIGPIPE);
  console.error(`loam: cannot write its output: ${error.message}`);
  process.exit(1);
});

const program: Command = new Command('loam')
  .description('Loam, a sidecarless service mesh')
  // Not the whole help: the error would be out of sight above it.
  .showHelpAfterError('loam --help lists the commands; loam --version tells the version')
  .version(ownVersion())
  // Asking and removing must work on any machine.
  .hook('preAction', (_program, command) => {
    if (NEED_KERNEL.has(command.name())) requireKernel();
  })
  .hook('postAction', tellMissing)
  .addCommand(demoCommand())
  .addCommand(dashboardCommand())
  .addCommand(statusCommand())
  .addCommand(whyCommand())
  .addCommand(describeCommand())
  .addCommand(connectionsCommand())
  .addCommand(certsCommand())
  .addCommand(configCommand())
  .addCommand(policyCommand())
  .addCommand(tapCommand())
  .addCommand(topCommand())
  .addCommand(graphCommand())
  .addCommand(installCommand())
  .addCommand(checkCommand())
  .addCommand(verifyCommand())
  .addCommand(upgradeCommand())
  .addCommand(uninstallCommand())
  .addCommand(waypointCommand())
  .addCommand(localCommand())
  .addCommand(offCommand())
  .addCommand(onCommand())
  .addCommand(logLevelCommand())
  .addCommand(bugReportCommand())
  .addCommand(completionCommand(() => program))
  .addCommand(imageCommand())
  .addCommand(testCommand())
  .addCommand(benchCommand());

/** What is not understood was given wrongly: commander's own 1 would say that something could not be told. */
function endWith2(command: Command): void {
  command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));
  command.commands.forEach(endWith2);
}

endWith2(program);
try {
  await program.parseAsync();
} catch (error) {
  // What a person did or can mend is said in a line; anything else is a fault of ours and shows where.
  const expected = error instanceof LoamError;
  // Either may have in it what a pod answered.
  console.error(printableText(expected ? `loam: ${errorText(error)}` : inspect(error)));
  tellMissing();
  process.exitCode = expected && INPUT_ERRORS.has(String(error.code)) ? 2 : 1;
}
// Keep-alive connections and unfinished look-ups must not hold the command back.
process.exit();
