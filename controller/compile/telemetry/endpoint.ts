import { collectorOf } from '../../../lib/mesh/telemetry/otlp-endpoint.ts';

export const OTLP_ENDPOINT_ALLOWED =
  'http://host:port of an OTLP/HTTP collector, or grpc://host:port of an OTLP/gRPC collector';

const FORM = /^(?:http|grpc):\/\/[^/?#@]+:\d{1,5}\/?$/;

/** Whether a text is what spans can be sent to: docs/telemetry.md. */
export function isOtlpEndpoint(value: string): boolean {
  try {
    return FORM.test(value) && collectorOf(value).url !== '';
  } catch {
    return false;
  }
}
