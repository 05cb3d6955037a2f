import { Turn } from './turn.ts';

/** Wasted streams that a peer may have at once, and each second. */
const BURST = 500;
const RATE_PER_S = 1_000;
/** What was wasted before anybody saw it is waited for, up to so much: ten seconds' worth. */
const MOST_OWED = 10 * RATE_PER_S;
/** Entries that are kept before those of peers that behave are swept out. */
const SWEEP_AT = 1_024;

interface Bucket {
  /** Below zero when more was wasted than there was. */
  tokens: number;
  atMs: number;
  /** Went over, and must wait until half of it is back. */
  spent: boolean;
}

/**
 * What each peer, known by its address, may waste of a worker's time. nghttp2 has a budget of resets for each connection, and
 * a peer that makes a new connection whenever one is ended has a new one each time.
 */
export class PeerBudget {
  readonly #buckets = new Map<string, Bucket>();
  readonly #turn: Turn;

  constructor(turn: Turn = new Turn()) {
    this.#turn = turn;
  }

  /** So much more was wasted. @returns false when that is too much: what the peer wasted it on is to be ended */
  spend(peer: string, amount = 1): boolean {
    const bucket = this.#bucket(peer);
    if (bucket.tokens >= amount) {
      bucket.tokens -= amount;
      return true;
    }
    // The last of it is not spent but refused.
    bucket.tokens = Math.max(-MOST_OWED, Math.min(0, bucket.tokens - amount + 1));
    bucket.spent = true;
    return false;
  }

  /** Whether a peer went over and has to wait before it is served again. */
  isSpent(peer: string): boolean {
    if (!this.#buckets.has(peer)) return false;
    const bucket = this.#bucket(peer);
    if (bucket.tokens >= BURST / 2) bucket.spent = false;
    return bucket.spent;
  }

  /** Peers of which anything is remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  #bucket(peer: string): Bucket {
    // Of the turn: a worker that is slow must not give more because the waste itself takes long.
    const now = this.#turn.startMs;
    let bucket = this.#buckets.get(peer);
    if (bucket === undefined) {
      if (this.#buckets.size >= SWEEP_AT) this.#sweep();
      bucket = { tokens: BURST, atMs: now, spent: false };
      this.#buckets.set(peer, bucket);
    }
    bucket.tokens = Math.min(BURST, bucket.tokens + ((now - bucket.atMs) * RATE_PER_S) / 1_000);
    bucket.atMs = now;
    return bucket;
  }

  /** Those that would be full by now. */
  #sweep(): void {
    const now = this.#turn.startMs;
    for (const [peer, { tokens, atMs }] of this.#buckets)
      if (tokens + ((now - atMs) * RATE_PER_S) / 1_000 >= BURST) this.#buckets.delete(peer);
  }
}
