import { TELEMETRY_MODES } from '../model/telemetry.ts';
import { metadata, topLevel } from './core.ts';
import { BOOLEAN, list, mapOf, OPAQUE, oneOf, record, type Schema, STRING } from './dsl.ts';
import { optionalSpec, SELECTOR, TARGET_REF } from './security.ts';

// Field names: Istio's telemetry.istio.io/v1. Those that Loam reads and does not act on are here too: a Telemetry of
// somebody who comes from Istio is taken for the rest, and its status names them (../compile/telemetry/unsupported.ts).

const MAX_ENTRIES = 16;
const MAX_PROVIDERS = 8;
const MAX_EXPRESSION = 1024;

const entries = (properties: Readonly<Record<string, Schema>>): Schema => ({
  ...list(record({ match: MODE, providers: PROVIDERS, ...properties })),
  maxItems: MAX_ENTRIES,
});

const MODE = record({ mode: oneOf(...TELEMETRY_MODES) });
const PROVIDERS: Schema = {
  ...list(record({ name: { type: 'string', minLength: 1, maxLength: 253 } }, ['name'])),
  maxItems: MAX_PROVIDERS,
};

/** telemetry.istio.io/v1 Telemetry. What a schema cannot say: ../sources/check-telemetry.ts. */
export const TELEMETRY: Schema = topLevel(metadata('subdomain', true), {
  spec: optionalSpec(
    record({
      selector: SELECTOR,
      targetRef: TARGET_REF,
      targetRefs: list(TARGET_REF, 1),
      accessLogging: entries({
        disabled: BOOLEAN,
        filter: record({ expression: { type: 'string', minLength: 1, maxLength: MAX_EXPRESSION } }),
      }),
      tracing: entries({
        randomSamplingPercentage: { type: 'number', minimum: 0, maximum: 100 },
        disableSpanReporting: BOOLEAN,
        customTags: mapOf(OPAQUE),
        useRequestIdForTraceSampling: BOOLEAN,
        enableIstioTags: BOOLEAN,
        disableContextPropagation: BOOLEAN,
      }),
      metrics: entries({ overrides: list(OPAQUE), reportingInterval: STRING }),
    }),
  ),
  status: OPAQUE,
});
