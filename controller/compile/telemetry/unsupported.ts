import { LOG_PROVIDERS, type Telemetry } from '../../model/telemetry.ts';
import { didYouMean } from '../../../lib/did-you-mean.ts';
import { show } from '../../schema/validate.ts';
import { isLogProvider, type Providers } from './effective.ts';

/** The fields of a Telemetry that have a meaning in Istio, and that Loam does not act on. */
export function unsupportedFields({ spec }: Telemetry): string[] {
  const { metrics = [], tracing = [], accessLogging = [] } = spec ?? {};
  return [
    ...(metrics.length > 0 ? ['spec.metrics (metrics are the same for everybody)'] : []),
    ...tracing.flatMap((entry, i) => {
      const at = `spec.tracing[${i}]`;
      return [
        ...(entry.useRequestIdForTraceSampling === true ? [`${at}.useRequestIdForTraceSampling`] : []),
        ...(entry.enableIstioTags === false ? [`${at}.enableIstioTags`] : []),
        ...(entry.disableContextPropagation === true ? [`${at}.disableContextPropagation`] : []),
      ];
    }),
    ...accessLogging.flatMap(({ filter }, i) =>
      filter !== undefined && filter.expression === undefined ? [`spec.accessLogging[${i}].filter`] : [],
    ),
  ];
}

/** The providers that a Telemetry names and that there are not: where, which, and which there are. */
export function unknownProviders({ spec }: Telemetry, providers: Providers): string[] {
  const { tracing = [], accessLogging = [] } = spec ?? {};
  const of = (
    entries: readonly { readonly providers?: readonly { readonly name: string }[] }[],
    part: string,
    isKnown: (name: string) => boolean,
    known: readonly string[],
    none: string,
  ): string[] =>
    entries.flatMap((entry, i) =>
      (entry.providers ?? []).flatMap(({ name }, p) => {
        if (isKnown(name)) return [];
        const guess = didYouMean(name, known);
        const hint = guess === undefined ? '' : `; did you mean ${show(guess)}?`;
        const allowed = known.length === 0 ? none : known.join(', ');
        return [
          `spec.${part}[${i}].providers[${p}].name: there is no provider ${show(name)}${hint} (allowed: ${allowed})`,
        ];
      }),
    );
  return [
    ...of(accessLogging, 'accessLogging', isLogProvider, LOG_PROVIDERS, ''),
    ...of(
      tracing,
      'tracing',
      (name) => providers.has(name),
      [...providers.keys()],
      'none, MeshSettings have no spec.telemetryProviders',
    ),
  ];
}
