export const OTLP_ENDPOINT_ALLOWED = 'http://host:port of an OTLP/HTTP collector';

/** Whether a text is what spans can be sent to: docs/telemetry.md. */
export function isOtlpEndpoint(value: string): boolean {
  const url = URL.parse(value);
  return (
    url?.protocol === 'http:' &&
    /^http:\/\/[^/?#@]+:\d{1,5}\/?$/.test(value) &&
    url.username === '' &&
    url.hostname !== ''
  );
}
