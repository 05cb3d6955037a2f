import type { Expression } from '../../../lib/mesh/telemetry/expression.ts';
import {
  type AccessLogging,
  LOG_PROVIDERS,
  type LogProvider,
  type Telemetry,
  type TelemetryProvider,
  type Tracing,
} from '../../model/telemetry.ts';
import { compileFilter } from './filter.ts';

export type LogFormat = 'json' | 'text';

/** Lines of one form, and for what. */
export interface LogOutput {
  readonly format: LogFormat;
  /** Undefined: for everything. */
  readonly filter: Expression | undefined;
}

export interface TracingPlan {
  readonly endpoint: string;
  /** 0 to 1. */
  readonly sampling: number;
  readonly tags: Readonly<Record<string, string>>;
}

/** What is told by one side of a connection. */
export interface SidePlan {
  /** Undefined: nothing is said about it, and the default holds. */
  readonly logs: readonly LogOutput[] | undefined;
  /** Undefined: no spans. */
  readonly tracing: TracingPlan | undefined;
}

export interface TelemetryPlan {
  readonly client: SidePlan;
  readonly server: SidePlan;
}

export type Providers = ReadonlyMap<string, TelemetryProvider>;

/** As OpenTelemetry's own default would be too much for a mesh: a hundredth (Istio: the same). */
export const DEFAULT_SAMPLING = 0.01;
const FORMATS: Readonly<Record<LogProvider, LogFormat>> = { json: 'json', text: 'text', envoy: 'json' };

type Side = 'CLIENT' | 'SERVER';

/**
 * What Telemetries come to, of which each is more specific than the one before: of the mesh, of a namespace, of a workload or target
 * (Istio: Telemetry API). Pure. A provider that does not exist counts as not named.
 *
 * @param base what is traced where nothing is said
 */
export function effective(
  levels: readonly Telemetry[],
  providers: Providers,
  base?: TracingPlan,
): TelemetryPlan {
  const of = (side: Side): SidePlan => ({
    logs: logsOf(levels, side),
    tracing: tracingOf(levels, side, providers, base),
  });
  return { client: of('CLIENT'), server: of('SERVER') };
}

export function isLogProvider(name: string): name is LogProvider {
  return LOG_PROVIDERS.some((each) => each === name);
}

function isFor(side: Side, { match }: AccessLogging | Tracing): boolean {
  const mode = match?.mode ?? 'CLIENT_AND_SERVER';
  return mode === 'CLIENT_AND_SERVER' || mode === side;
}

/** Providers that a level names take the place of those of the level before; of several entries for one, the last counts. */
function logsOf(levels: readonly Telemetry[], side: Side): readonly LogOutput[] | undefined {
  let formats: readonly LogFormat[] = ['json'];
  let says = false;
  const outputs = new Map<LogFormat, LogOutput | undefined>();
  for (const { spec } of levels) {
    const entries = (spec?.accessLogging ?? [])
      .filter((entry) => isFor(side, entry))
      .map((entry) => ({ entry, named: formatsOf(entry) }))
      .filter(({ named }) => named === undefined || named.length > 0);
    const named = entries.flatMap((each) => each.named ?? []);
    if (named.length > 0) formats = [...new Set(named)];
    for (const each of entries) {
      says = true;
      for (const format of each.named ?? formats) outputs.set(format, outputOf(format, each.entry));
    }
  }
  if (!says) return undefined;
  return formats.flatMap((format) =>
    outputs.has(format) ? (outputs.get(format) ?? []) : [{ format, filter: undefined }],
  );
}

/** Undefined: it names no provider, so that it is for all that count. Empty: none of those that it names exists. */
function formatsOf({ providers = [] }: AccessLogging): readonly LogFormat[] | undefined {
  if (providers.length === 0) return undefined;
  return providers.flatMap(({ name }) => (isLogProvider(name) ? [FORMATS[name]] : []));
}

/** Undefined: off. */
function outputOf(format: LogFormat, { disabled, filter }: AccessLogging): LogOutput | undefined {
  if (disabled === true) return undefined;
  if (filter?.expression === undefined) return { format, filter: undefined };
  const compiled = compileFilter(filter.expression);
  // A source takes none that is not right.
  return compiled.ok ? { format, filter: compiled.expression } : undefined;
}

/** Each field that a level gives takes the place of that of the level before. */
function tracingOf(
  levels: readonly Telemetry[],
  side: Side,
  providers: Providers,
  base: TracingPlan | undefined,
): TracingPlan | undefined {
  let endpoint = base?.endpoint;
  let sampling = base?.sampling ?? DEFAULT_SAMPLING;
  let disabled = false;
  let tags: Readonly<Record<string, string>> = {};
  for (const entry of levels.flatMap(({ spec }) => spec?.tracing ?? [])) {
    if (!isFor(side, entry)) continue;
    const [named] = entry.providers ?? [];
    endpoint = (named && providers.get(named.name))?.otlp.endpoint.replace(/\/$/, '') ?? endpoint;
    if (entry.randomSamplingPercentage !== undefined) sampling = entry.randomSamplingPercentage / 100;
    disabled = entry.disableSpanReporting ?? disabled;
    if (entry.customTags !== undefined) tags = literalTags(entry.customTags);
  }
  return endpoint === undefined || disabled ? undefined : { endpoint, sampling, tags };
}

function literalTags(tags: NonNullable<Tracing['customTags']>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(tags)
      .map(([name, tag]) => [name, (tag['literal'] as { value: string }).value] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}
