/** Entry of ztunnel, the per-node tunnel: reads the configuration, runs, ends gracefully on SIGTERM. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../lib/package-root.ts';
import { ConfigError } from '../lib/flags.ts';
import { readConfig, type ZtunnelConfig } from './config.ts';
import { makeLogger, type Logger } from './log.ts';
import { Ztunnel } from './ztunnel.ts';

// Node opens its inspector, a way into every key, on SIGUSR1. A listener of our own takes the signal's place from here
// on; images also start Node with --disable-sigusr1, which leaves no moment before.
process.on('SIGUSR1', () => undefined);

function configure(): ZtunnelConfig {
  try {
    return readConfig(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`ztunnel: ${error.message}\n`);
    process.exit(2);
  }
}

function fatal(log: Logger, error: unknown): never {
  log.fatal({ err: error }, 'ztunnel ends; the agent keeps new connections waiting for the next one');
  process.exit(1);
}

async function run(config: ZtunnelConfig): Promise<void> {
  const log = makeLogger(config.logLevel, config.node);
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
    version: string;
  };
  process.on('uncaughtException', (error) => fatal(log, error));
  log.info({ config, version, runtime: process.version, pid: process.pid }, 'ztunnel starts');
  const ztunnel: Ztunnel = new Ztunnel(config, log, version, (error) => fatal(log, error), end);
  function end(): void {
    ztunnel.drain().then(
      () => process.exit(0),
      (error: unknown) => fatal(log, error),
    );
  }
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  try {
    await ztunnel.start();
  } catch (error) {
    fatal(log, error);
  }
}

await run(configure());
