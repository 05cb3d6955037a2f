import { spawn } from 'node:child_process';
import { Command } from 'commander';
import { peersFolder } from '../test-rings/rings.ts';
import { existsSync } from 'node:fs';
import { siblingModule } from '../../lib/package-root.ts';

/** `loam bench`: a direct connection, Istio's Rust ztunnel and Loam's, measured in turns; ends with a table of medians. */
export function benchCommand(): Command {
  return new Command('bench')
    .description("measure Loam's ztunnel beside a direct connection and Istio's Rust ztunnel")
    .option('--rounds <n>', 'how often each pair is measured', '3')
    .option('--phases <list>', 'a bulk, b requests, c new connections, d memory', 'a,b,c,d')
    .option('--duration-s <n>', 'how long one measurement takes', '10')
    .action(async (options: { rounds: string; phases: string; durationS: string }) => {
      if (!existsSync(peersFolder())) {
        console.error(
          `loam bench: missing ${peersFolder()}: the Rust ztunnel and its harness (not part of the clone)`,
        );
        process.exitCode = 1;
        return;
      }
      const module = siblingModule(import.meta.url, '../../bench/peers').pathname;
      const args = [
        '--rounds',
        options.rounds,
        '--phases',
        options.phases,
        '--duration-s',
        options.durationS,
      ];
      const child = spawn(process.execPath, [module, ...args], { stdio: 'inherit' });
      process.exitCode = await new Promise<number>((resolve) =>
        child.once('exit', (code) => resolve(code ?? 1)),
      );
    });
}
