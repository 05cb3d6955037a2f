import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { ControllerError } from '../errors.ts';
import type { ControllerMetrics } from '../telemetry/metrics.ts';
import { localPlatform } from './local.ts';
import type { Platform } from './platform.ts';

/** The surroundings that the configuration names. Nothing of it is started yet. */
export function makePlatform(config: Config, _: ControllerMetrics, log: Logger): Platform {
  if (config.platform.kind === 'local') return localPlatform(config.platform, config, log);
  throw new ControllerError('CONFIG', '--manifests (LOAM_MANIFESTS) is missing; allowed: a directory');
}
