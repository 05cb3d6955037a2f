/** Milliseconds of each unit of the grpc-timeout header. */
const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** At most eight digits (gRPC over HTTP/2, TimeoutValue). */
const MOST = 99_999_999;

/**
 * Reads a `grpc-timeout` header: milliseconds, not always whole; undefined when it is not of the form that gRPC over HTTP/2
 * gives it.
 */
export function parseGrpcTimeout(value: string): number | undefined {
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(value) ?? [];
  const unitMs = unit === undefined ? undefined : UNIT_MS[unit];
  return digits === undefined || unitMs === undefined ? undefined : Number(digits) * unitMs;
}

/** Writes a `grpc-timeout` header of so many milliseconds: never more than given, and never zero. */
export function formatGrpcTimeout(ms: number): string {
  const whole = Math.floor(ms);
  if (whole < 1) return `${Math.max(1, Math.floor(ms * 1_000))}u`;
  if (whole <= MOST) return `${whole}m`;
  return `${Math.min(MOST, Math.floor(ms / 1_000))}S`;
}
