import { create } from '@bufbuild/protobuf';
import { type Settings, SettingsSchema } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Labels } from '../../model/objects.ts';
import { didYouMean } from '../../../lib/did-you-mean.ts';
import { type FieldProblem, show } from '../../schema/validate.ts';
import { DEFAULT_SAMPLING, type SidePlan, type TracingPlan } from '../telemetry/effective.ts';
import { sideMessage } from '../telemetry/message.ts';
import { isOtlpEndpoint, OTLP_ENDPOINT_ALLOWED } from '../telemetry/endpoint.ts';

const OTLP = 'loam.dev/otlp-endpoint';
const SAMPLING = 'loam.dev/trace-sampling';
const HOPS = 'loam.dev/trusted-hops';
/**
 * How many instances the waypoint of a Gateway has, in Kubernetes. Without it the Deployment's `replicas` is left to others, as
 * to an autoscaler.
 */
export const REPLICAS_ANNOTATION = 'loam.dev/replicas';
const PREFIX = 'loam.dev/';
const MAX_REPLICAS = 32;
const MAX_HOPS = 32;

interface Setting {
  readonly allowed: string;
  readonly check: (value: string) => boolean;
}

const SETTINGS: ReadonlyMap<string, Setting> = new Map([
  [OTLP, { allowed: OTLP_ENDPOINT_ALLOWED, check: isOtlpEndpoint }],
  [SAMPLING, { allowed: 'a number from 0 to 1, for example 0.1', check: isShare }],
  [REPLICAS_ANNOTATION, { allowed: `a whole number from 1 to ${MAX_REPLICAS}`, check: isReplicas }],
  [
    HOPS,
    {
      allowed: `a whole number from 0 to ${MAX_HOPS}`,
      check: (v) => /^\d{1,2}$/.test(v) && Number(v) <= MAX_HOPS,
    },
  ],
]);

/** The replicas that a Gateway asks for; undefined where it does not say. */
export function replicasOf(annotations: Labels): number | undefined {
  const text = annotations[REPLICAS_ANNOTATION];
  return text === undefined ? undefined : Number(text);
}

function isReplicas(value: string): boolean {
  return /^[1-9]\d?$/.test(value) && Number(value) <= MAX_REPLICAS;
}

function isShare(value: string): boolean {
  return /^(0|1|0?\.\d{1,9}|0\.\d{1,9}|1\.0{1,9})$/.test(value);
}

/** What is wrong with the annotations by which a Gateway sets up its waypoint. */
export function settingProblems(annotations: Labels): FieldProblem[] {
  return Object.entries(annotations).flatMap(([key, value]): FieldProblem[] => {
    if (!key.startsWith(PREFIX)) return [];
    const path = ['metadata', 'annotations', key];
    const setting = SETTINGS.get(key);
    if (setting === undefined) {
      const known = [...SETTINGS.keys()];
      const guess = didYouMean(key, known);
      const hint = guess === undefined ? '' : `; did you mean ${show(guess)}?`;
      const message = `unknown annotation ${show(key)}${hint}`;
      return [{ path, atKey: true, message, allowed: known.join(', ') }];
    }
    if (setting.check(value)) return [];
    return [
      {
        path,
        atKey: false,
        message: `${show(value)} is not allowed`,
        value: show(value),
        allowed: setting.allowed,
      },
    ];
  });
}

/** What a Gateway itself says of spans; undefined: nothing. Of annotations that have passed {@link settingProblems}. */
export function tracingOfGateway(annotations: Labels): TracingPlan | undefined {
  const endpoint = annotations[OTLP]?.replace(/\/$/, '');
  if (endpoint === undefined) return undefined;
  return { endpoint, sampling: Number(annotations[SAMPLING] ?? DEFAULT_SAMPLING), tags: {} };
}

/**
 * Compiles annotations that have passed {@link settingProblems}.
 *
 * @param told what Telemetries come to for the waypoint, the annotations with them; undefined: there is none
 */
export function compileSettings(annotations: Labels, sessionKey: Uint8Array, told?: SidePlan): Settings {
  const tracing = told === undefined ? tracingOfGateway(annotations) : told.tracing;
  const telemetry = told && sideMessage(told);
  return create(SettingsSchema, {
    ...{ trustedHops: Number(annotations[HOPS] ?? 0), sessionKey },
    tracing: { otlpEndpoint: tracing?.endpoint ?? '', sampling: tracing?.sampling ?? DEFAULT_SAMPLING },
    ...(telemetry !== undefined && { telemetry }),
  });
}
