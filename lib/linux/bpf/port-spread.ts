/** Which destination ports a pod's redirected connections are spread over. */
import { readFileSync } from 'node:fs';
import { inNetns } from '../netns.ts';

const LOWEST = 1024;
const HIGHEST = 65535;
/** Fewer would make connections to one another's TIME_WAIT likely again. */
const ENOUGH = 1024;
/** Ports that a mesh's own listeners have by custom: never dialled, so that captures are not misread. */
const RESERVED = { low: 15000, high: 15099 };

/** A range of ports: the lowest, and how many. */
export interface PortSpread {
  readonly low: number;
  readonly count: number;
}

/**
 * Ports from which the kernel takes no source port. Should both be the same, a TCP socket would be connected to
 * itself. Above the range of source ports rather than below, where applications have their listeners: an accepted
 * connection holds its local port, and a listener that starts there later without SO_REUSEADDR would be refused.
 *
 * @param netnsFd the pod's network namespace, whose `ip_local_port_range` counts
 */
export function portSpread(netnsFd: number): PortSpread {
  // Read synchronously by this very thread, which is inside the namespace at that moment.
  const text = inNetns(netnsFd, () => readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'));
  const [low = 32768, high = 60999] = text.trim().split(/\s+/).map(Number);
  return spreadBeside(low, high);
}

/** The ports beside a range of source ports. */
export function spreadBeside(low: number, high: number): PortSpread {
  const candidates = [
    range(Math.max(high + 1, LOWEST), HIGHEST),
    range(RESERVED.high + 1, low - 1),
    range(LOWEST, Math.min(low, RESERVED.low) - 1),
    range(1, Math.min(low, LOWEST) - 1),
  ].map((spread) => withoutReserved(spread));
  const enough = candidates.find((spread) => spread.count >= ENOUGH);
  if (enough) return enough;
  const [widest] = candidates.sort((a, b) => b.count - a.count);
  // All ports are source ports: then the program still avoids that of a socket bound before, and no more can be done.
  return widest && widest.count > 0 ? widest : range(RESERVED.high + 1, HIGHEST);
}

function range(low: number, high: number): PortSpread {
  return { low, count: Math.max(0, high - low + 1) };
}

function withoutReserved(spread: PortSpread): PortSpread {
  const last = spread.low + spread.count - 1;
  if (last < RESERVED.low || spread.low > RESERVED.high) return spread;
  const below = range(spread.low, RESERVED.low - 1);
  const above = range(RESERVED.high + 1, last);
  return below.count > above.count ? below : above;
}
