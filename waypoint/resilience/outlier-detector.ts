import type { OutlierDetection } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Endpoint, OutlierState } from './endpoint.ts';
import type { Health } from './outcome.ts';

export type OutlierCause = 'consecutive-errors' | 'consecutive-gateway-errors';

/** For log and metrics. */
export type OutlierEvent =
  | {
      readonly kind: 'ejected';
      readonly endpoint: Endpoint;
      readonly cause: OutlierCause;
      readonly forMs: number;
      /** How many in a row, this one included. */
      readonly ejections: number;
    }
  /** It would have been ejected, but too many are already (maxEjectedPercent). */
  | { readonly kind: 'ejection-refused'; readonly endpoint: Endpoint; readonly cause: OutlierCause }
  | { readonly kind: 'readmitted'; readonly endpoint: Endpoint }
  /** Too few are left (minHealthPercent): ejections are ignored from now on, or no longer. */
  | { readonly kind: 'panic'; readonly on: boolean };

/** An endpoint as outlier detection sees it. */
export interface Suspect {
  readonly endpoint: Endpoint;
  readonly outlier: OutlierState;
}

export type OutlierSettings = Pick<
  OutlierDetection,
  | 'consecutiveErrors'
  | 'consecutiveGatewayErrors'
  | 'interval'
  | 'baseEjection'
  | 'maxEjection'
  | 'maxEjectedPercent'
  | 'minHealthPercent'
>;

export function newOutlierState(): OutlierState {
  return { errors: 0, gatewayErrors: 0, ejections: 0, ejectedUntil: undefined, healthySince: -Infinity };
}

/**
 * Ejects endpoints that fail again and again. Needs no timer: an ejection ends by the time that is passed in, and credit
 * for health (one ejection less for each `interval`) is counted when it matters. Holds no state but its settings.
 */
export class OutlierDetector {
  readonly #emit: (event: OutlierEvent) => void;
  #settings: OutlierSettings | undefined;

  constructor(emit: (event: OutlierEvent) => void) {
    this.#emit = emit;
  }

  /** @param settings undefined: off, and nothing stays ejected */
  configure(settings: OutlierSettings | undefined): void {
    this.#settings = settings;
  }

  /**
   * Takes in how a request ended.
   *
   * @param counts endpoints that are ready, and how many of them are ejected now
   * @returns whether this ejected it
   */
  report(
    suspect: Suspect,
    health: Health,
    now: number,
    counts: { readonly ready: number; readonly ejected: number },
  ): boolean {
    const settings = this.#settings;
    const { outlier, endpoint } = suspect;
    // What was sent before the ejection, or in panic, must not prolong it.
    if (settings === undefined || health === 'neutral' || outlier.ejectedUntil !== undefined) return false;
    outlier.errors = health === 'success' ? 0 : outlier.errors + 1;
    outlier.gatewayErrors = health === 'gateway-error' ? outlier.gatewayErrors + 1 : 0;
    const cause = causeOf(outlier, settings);
    if (cause === undefined) return false;
    outlier.errors = 0;
    outlier.gatewayErrors = 0;
    if (!mayEject(settings.maxEjectedPercent, counts)) {
      this.#emit({ kind: 'ejection-refused', endpoint, cause });
      return false;
    }
    this.#credit(outlier, now, settings.interval);
    outlier.ejections++;
    const cap = Math.max(settings.baseEjection, settings.maxEjection);
    const forMs = Math.min(settings.baseEjection * outlier.ejections, cap);
    outlier.ejectedUntil = now + forMs;
    this.#emit({ kind: 'ejected', endpoint, cause, forMs, ejections: outlier.ejections });
    return true;
  }

  /** Ends an ejection whose time has come, or any while detection is off; true when it did. */
  readmit(suspect: Suspect, now: number): boolean {
    const { outlier } = suspect;
    if (outlier.ejectedUntil === undefined) return false;
    if (this.#settings !== undefined && outlier.ejectedUntil > now) return false;
    outlier.healthySince = this.#settings === undefined ? now : outlier.ejectedUntil;
    outlier.ejectedUntil = undefined;
    outlier.errors = 0;
    outlier.gatewayErrors = 0;
    if (this.#settings === undefined) outlier.ejections = 0;
    this.#emit({ kind: 'readmitted', endpoint: suspect.endpoint });
    return true;
  }

  /** Whether so few are left that ejections are to be ignored. */
  panic(counts: { readonly ready: number; readonly ejected: number }): boolean {
    const percent = this.#settings?.minHealthPercent ?? 0;
    return counts.ejected > 0 && (counts.ready - counts.ejected) * 100 < percent * counts.ready;
  }

  #credit(outlier: OutlierState, now: number, interval: number): void {
    if (outlier.ejections === 0 || interval === 0) return;
    const intervals = Math.floor((now - outlier.healthySince) / interval);
    outlier.ejections = Math.max(0, outlier.ejections - intervals);
  }
}

function causeOf(outlier: OutlierState, settings: OutlierSettings): OutlierCause | undefined {
  const { consecutiveErrors, consecutiveGatewayErrors } = settings;
  if (consecutiveGatewayErrors > 0 && outlier.gatewayErrors >= consecutiveGatewayErrors) {
    return 'consecutive-gateway-errors';
  }
  return consecutiveErrors > 0 && outlier.errors >= consecutiveErrors ? 'consecutive-errors' : undefined;
}

function mayEject(
  percent: number,
  { ready, ejected }: { readonly ready: number; readonly ejected: number },
): boolean {
  if (percent === 0) return false;
  return ejected === 0 || (ejected + 1) * 100 <= percent * ready;
}
