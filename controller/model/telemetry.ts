import type { Base } from './meta.ts';
import type { Selector, TargetRef } from './objects.ts';

// Every field, and what Loam makes of it: docs/tasks/telemetry.md.

export const TELEMETRY_MODES = ['CLIENT_AND_SERVER', 'CLIENT', 'SERVER'] as const;
export type TelemetryMode = (typeof TELEMETRY_MODES)[number];

export interface ProviderRef {
  readonly name: string;
}

export interface AccessLogging {
  readonly match?: { readonly mode?: TelemetryMode };
  readonly providers?: readonly ProviderRef[];
  readonly disabled?: boolean;
  readonly filter?: { readonly expression?: string };
}

export interface Tracing {
  readonly match?: { readonly mode?: TelemetryMode };
  readonly providers?: readonly ProviderRef[];
  /** 0 to 100. */
  readonly randomSamplingPercentage?: number;
  readonly disableSpanReporting?: boolean;
  readonly customTags?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly useRequestIdForTraceSampling?: boolean;
  readonly enableIstioTags?: boolean;
  readonly disableContextPropagation?: boolean;
}

/** telemetry.istio.io/v1: what is told of connections and requests, to whom. */
export interface Telemetry extends Base<'Telemetry'> {
  readonly spec?: {
    readonly selector?: Selector;
    readonly targetRef?: TargetRef;
    readonly targetRefs?: readonly TargetRef[];
    readonly accessLogging?: readonly AccessLogging[];
    readonly tracing?: readonly Tracing[];
    /** Read, and not acted on: metrics are the same for everybody. */
    readonly metrics?: readonly object[];
  } | null;
}

/** Where telemetry can be sent beside a program's own log: of MeshSettings, known to a Telemetry by its name. */
export interface TelemetryProvider {
  readonly name: string;
  readonly otlp: { readonly endpoint: string };
}

/** What each mesh has without naming it: lines on standard output. `envoy` is Istio's name for that, whatever the form. */
export const LOG_PROVIDERS = ['json', 'text', 'envoy'] as const;
export type LogProvider = (typeof LOG_PROVIDERS)[number];
