import { Command } from 'commander';
import { errorText, LoamError } from '../lib/loam-error.ts';
import { benchCommand } from './commands/bench.ts';
import { demoCommand } from './commands/demo.ts';
import { localCommand } from './commands/local.ts';
import { testCommand } from './commands/test.ts';

const program = new Command('loam')
  .description('Loam, a sidecarless service mesh')
  .showHelpAfterError()
  .addCommand(demoCommand())
  .addCommand(localCommand())
  .addCommand(testCommand())
  .addCommand(benchCommand());

try {
  await program.parseAsync();
} catch (error) {
  // What a person did or can mend is said in a line; anything else is a fault of ours and shows where.
  const expected = error instanceof LoamError;
  console.error(expected ? `loam: ${errorText(error)}` : error);
  process.exitCode = expected && error.code === 'LOCAL_MESH_INPUT' ? 2 : 1;
}
// Keep-alive connections and unfinished look-ups must not hold the command back.
process.exit();
