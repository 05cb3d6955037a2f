import type { ConfigStore } from '../../lib/mesh/waypoint/config-store.ts';
import { decodeSide } from '../../lib/mesh/telemetry/decode.ts';
import type { SideTelemetry } from '../../lib/mesh/telemetry/model.ts';
import type { Side } from '../../proto/gen/loam/telemetry/v1/telemetry_pb.js';
import type { ServiceName } from './request-record.ts';

/** What is said of a waypoint's telemetry: by its Service, else by its settings. */
export class ToldTelemetry {
  readonly #config: ConfigStore;
  /** By message: a change of configuration brings others. */
  readonly #decoded = new WeakMap<Side, SideTelemetry>();

  constructor(config: ConfigStore) {
    this.#config = config;
  }

  /** @returns undefined where nothing is said, and the default holds */
  of(service: Pick<ServiceName, 'namespace' | 'hostname'> | undefined): SideTelemetry | undefined {
    const own = service && this.#config.service(`${service.namespace}/${service.hostname}`)?.telemetry;
    const side = own ?? this.#config.settings?.telemetry;
    if (side === undefined) return undefined;
    let decoded = this.#decoded.get(side);
    if (decoded === undefined) this.#decoded.set(side, (decoded = decodeSide(side)));
    return decoded;
  }
}
