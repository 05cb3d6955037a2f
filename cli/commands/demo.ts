import { Command } from 'commander';

/** `loam demo`. */
export function demoCommand(): Command {
  return new Command('demo').action(() => undefined);
}
