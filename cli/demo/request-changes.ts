import type { DeniedRequests, Requests } from './requests.ts';

/** Who is let in at times and denied at times (by what it asks) is denied only when it was not let in for so long. */
const DENIED_AFTER_MS = 3_000;

type State = 'answered' | 'fallback' | 'denied';

interface Seen {
  count: number;
  fallbacks: number;
  denied: number;
  letInAt: number;
  state: State | undefined;
}

/** Something that changed in what becomes of requests. */
export interface RequestChange {
  readonly kind: 'fallback' | 'other';
  readonly text: string;
}

/** Notes when requests begin to be answered by a fallback, or to be denied or let in. */
export class RequestChanges {
  readonly #seen = new Map<string, Seen>();

  /**
   * @param at ms of any clock that goes on steadily
   * @returns what changed since the last call; the first look is no change
   */
  look(at: number, requests: readonly Requests[], denied: readonly DeniedRequests[]): RequestChange[] {
    const names = new Set([...requests, ...denied].map(({ from, to }) => `${from} → ${to}`));
    return [...names].flatMap((name): RequestChange[] => {
      const { count = 0, fallbacks = 0 } = requests.find(({ from, to }) => `${from} → ${to}` === name) ?? {};
      const times = denied
        .filter(({ from, to }) => `${from} → ${to}` === name)
        .reduce((sum, each) => sum + each.times, 0);
      const before = this.#seen.get(name);
      const last = before ?? { count: 0, fallbacks: 0, denied: 0, letInAt: -Infinity, state: undefined };
      const letInAt = count > last.count ? at : last.letInAt;
      const state =
        fallbacks > last.fallbacks
          ? 'fallback'
          : count > last.count
            ? 'answered'
            : times > last.denied && at - letInAt > DENIED_AFTER_MS
              ? 'denied'
              : last.state;
      this.#seen.set(name, { count, fallbacks, denied: times, letInAt, state });
      if (state === undefined || last.state === undefined || state === last.state) return [];
      return [changeOf(name, last.state, state)];
    });
  }
}

function changeOf(name: string, before: State, now: State): RequestChange {
  if (now === 'denied') return { kind: 'other', text: `${name} is denied now` };
  if (now === 'fallback') return { kind: 'fallback', text: `${name} is answered by the fallback now` };
  return before === 'fallback'
    ? { kind: 'fallback', text: `${name} is answered without the fallback again` }
    : { kind: 'other', text: `${name} gets through now` };
}
