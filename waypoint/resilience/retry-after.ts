/**
 * Reads a Retry-After header (RFC 9110 section 10.2.3): seconds, or a date.
 *
 * @param wallNow milliseconds since the epoch
 * @returns milliseconds to wait from now, 0 for a date that has passed; undefined when it is neither
 */
export function parseRetryAfter(value: string, wallNow: number): number | undefined {
  const text = value.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  // A date starts with the day's name; Date.parse alone would take many other things for dates.
  if (text.length > 40 || !/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? /.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.max(0, at - wallNow);
}

/** The Retry-After header for so many milliseconds: whole seconds, never less, at least 1. */
export function formatRetryAfter(ms: number): string {
  return String(Math.max(1, Math.ceil(ms / 1_000)));
}
