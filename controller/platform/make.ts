import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { ControllerMetrics } from '../telemetry/metrics.ts';
import { kubernetesPlatform } from './kubernetes/platform.ts';
import { localPlatform } from './local.ts';
import type { Platform } from './platform.ts';

/** The surroundings that the configuration names. Nothing of it is started yet. */
export function makePlatform(config: Config, metrics: ControllerMetrics, log: Logger): Platform {
  return config.platform.kind === 'local'
    ? localPlatform(config.platform, config, log)
    : kubernetesPlatform(config.platform, config, metrics, log);
}
