import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorText } from '../lib/loam-error.ts';
import { makeLogger } from '../lib/logger.ts';
import { packageRoot } from '../lib/package-root.ts';
import { readConfig, usage } from './config.ts';
import { Controller } from './controller.ts';
import { ControllerError } from './errors.ts';
import { makePlatform } from './platform/make.ts';
import { ControllerMetrics } from './telemetry/metrics.ts';

const EXIT_CONFIG = 2;
const EXIT_FAILED = 1;

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes('--help')) {
    console.log(usage());
    return;
  }
  const config = readConfig(args);
  const log = makeLogger(config.logLevel, { program: 'controller' });
  // No secret is part of the configuration: tokens and keys are named by file.
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
    version: string;
  };
  log.info({ config, version, node: process.version }, 'starting');
  const metrics = new ControllerMetrics(version);
  const controller = new Controller(config, makePlatform(config, metrics, log), metrics, log);
  let stopping = false;
  const stop = (signal: string): void => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'stopping');
    controller.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, 'stopped with an error');
        process.exit(EXIT_FAILED);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  const port = await controller.start();
  log.info({ host: config.listen.host, port }, 'serving');
}

main().catch((error: unknown) => {
  console.error(`controller: ${errorText(error)}`);
  process.exit(error instanceof ControllerError && error.code === 'CONFIG' ? EXIT_CONFIG : EXIT_FAILED);
});
