import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { ControllerMetrics } from '../telemetry/metrics.ts';
import { copyPlatform } from './copy.ts';
import { kubernetesPlatform } from './kubernetes/platform.ts';
import { localPlatform } from './local.ts';
import type { Platform } from './platform.ts';

/** The surroundings that the configuration names. Nothing of it is started yet. @throws ControllerError CONFIG */
export function makePlatform(config: Config, metrics: ControllerMetrics, log: Logger): Platform {
  const { platform } = config;
  switch (platform.kind) {
    case 'local':
      return localPlatform(platform, config, log);
    case 'copy':
      return copyPlatform(platform, config, log);
    case 'kubernetes':
      return kubernetesPlatform(platform, config, metrics, log);
  }
}
