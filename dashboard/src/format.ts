/** Numbers as people read them. */

export function rate(perSecond: number): string {
  if (perSecond === 0) return '0/s';
  if (perSecond < 0.095) return `${(perSecond * 60).toFixed(1)}/min`;
  return `${short(perSecond)}/s`;
}

export function short(value: number): string {
  if (value < 10) return value.toFixed(1).replace(/\.0$/, '');
  if (value < 1_000) return String(Math.round(value));
  if (value < 1_000_000) return `${(value / 1_000).toFixed(value < 10_000 ? 1 : 0)}k`;
  return `${(value / 1_000_000).toFixed(1)}M`;
}

export function ms(value: number | undefined): string {
  if (value === undefined) return '–';
  if (value < 1) return `${value.toFixed(2)} ms`;
  if (value < 100) return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
  if (value < 10_000)
    return `${value < 1_000 ? Math.round(value) + ' ms' : (value / 1_000).toFixed(2) + ' s'}`;
  return `${Math.round(value / 1_000)} s`;
}

export function bytes(value: number): string {
  if (value < 1_000) return `${Math.round(value)} B`;
  for (const [unit, size] of [
    ['kB', 1e3],
    ['MB', 1e6],
    ['GB', 1e9],
  ] as const)
    if (value < size * 1_000) return `${(value / size).toFixed(value < size * 10 ? 1 : 0)} ${unit}`;
  return `${(value / 1e12).toFixed(1)} TB`;
}

export function percent(share: number | undefined): string {
  if (share === undefined) return '–';
  const value = share * 100;
  if (value === 100) return '100 %';
  if (value > 99.9) return '99.9 %';
  return `${value.toFixed(value > 99 || (value > 0 && value < 10) ? 1 : 0)} %`;
}

export function clock(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { hour12: false });
}

export function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1_000);
  return seconds < 60
    ? `${seconds} s`
    : seconds % 60 === 0
      ? `${seconds / 60} min`
      : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** `sa/frontend in shop` of a SPIFFE URI is what differs; the rest of it is in the title. */
export function identity(uri: string): string {
  const match = /^spiffe:\/\/[^/]+\/ns\/([^/]+)\/sa\/(.+)$/.exec(uri);
  return match === null ? uri : `${match[1]}/${match[2]}`;
}

/** A point of an axis: the day as well, where the axis is long. */
export function moment(at: number, spanMs: number): string {
  if (spanMs < 12 * 3_600_000) return clock(at);
  const day: Intl.DateTimeFormatOptions = {
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
  };
  return new Date(at).toLocaleString(undefined, { ...day, hour12: false });
}
