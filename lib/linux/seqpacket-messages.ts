/** What the thread that uses SEQPACKET connections and the thread that blocks on them say to each other. */
import type { PeerCredentials, SeqpacketCode } from './unix-socket.ts';

/** How the worker thread starts: it takes over `eventFd` (to be woken by) and the one listener or connection. */
export interface WorkerStart {
  readonly eventFd: number;
  readonly source:
    | { readonly type: 'listener'; readonly fd: number; readonly maxConnections: number }
    | { readonly type: 'connection'; readonly fd: number; readonly peer: PeerCredentials };
}

/** An error, flat, since errors lose their class between threads. */
export interface FlatError {
  readonly code: SeqpacketCode;
  readonly message: string;
}

/** To the worker. Descriptors in `send` become the worker's. */
export type ToWorker =
  | { type: 'send'; connection: number; id: number; data: Uint8Array; fds: readonly number[] }
  /** One more packet of this connection was consumed. */
  | { type: 'credit'; connection: number }
  | { type: 'close'; connection: number }
  | { type: 'stop' };

/** From the worker. Descriptors in `packet` become the receiver's. */
export type FromWorker =
  | { type: 'opened'; connection: number; peer: PeerCredentials }
  | { type: 'refused'; error: FlatError }
  | { type: 'packet'; connection: number; data: Uint8Array; fds: readonly number[] }
  | { type: 'sent'; id: number }
  | { type: 'failed'; id: number; error: FlatError }
  | { type: 'closed'; connection: number; error?: FlatError };

/** Packets of one connection that were handed over and not consumed yet; then the worker stops reading it. */
export const MAX_UNCONSUMED_PACKETS = 32;
/** Packets of one connection that wait for the socket's buffer; further ones are refused with SEQPACKET_BUSY. */
export const MAX_UNSENT_PACKETS = 64;
