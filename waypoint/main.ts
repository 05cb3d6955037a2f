/** Entry of the waypoint, the proxy that understands requests: reads the configuration, runs, ends gracefully on SIGTERM, at once on a second. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ConfigError } from '../lib/flags.ts';
import { makeLogger } from '../lib/logger.ts';
import { packageRoot } from '../lib/package-root.ts';
import { readConfig, type WaypointConfig } from './config.ts';
import { Waypoint } from './waypoint.ts';

// Node opens its inspector, a way into every key, on SIGUSR1. A listener of our own takes the signal's place from here
// on; images also start Node with --disable-sigusr1, which leaves no moment before.
process.on('SIGUSR1', () => undefined);

function configure(): WaypointConfig {
  try {
    return readConfig(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`waypoint: ${error.message}\n`);
    process.exit(2);
  }
}

function fatal(log: Logger, error: unknown): never {
  log.fatal({ err: error }, 'the waypoint ends');
  process.exit(1);
}

async function run(config: WaypointConfig): Promise<void> {
  const log = makeLogger(config.logLevel, { program: 'waypoint', node: config.node });
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
    version: string;
  };
  process.on('uncaughtException', (error) => fatal(log, error));
  log.info({ config, version, runtime: process.version, pid: process.pid }, 'waypoint starts');
  const waypoint: Waypoint = new Waypoint(config, log, version, (error) => fatal(log, error), end);
  function end(): void {
    waypoint.drain().then(
      () => process.exit(0),
      (error: unknown) => fatal(log, error),
    );
  }
  // A second one: whoever ends it will not wait for the rest.
  process.once('SIGTERM', () => {
    process.on('SIGTERM', () => waypoint.hurry());
    end();
  });
  process.on('SIGINT', end);
  try {
    await waypoint.start();
  } catch (error) {
    fatal(log, error);
  }
}

await run(configure());
