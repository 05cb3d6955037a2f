import type { CertificateBundle } from '../identity/certificate-bundle.ts';
import type { LogLevel } from '../log.ts';

/** What can be asked of a program's worker, by name, and the types of question and answer. */
export type RequestMap<R> = {
  readonly [K in keyof R]: { readonly request: unknown; readonly answer: unknown };
};

/** Main thread to worker: what each program has. Messages are handled in order. */
export type CommonToWorker<R extends RequestMap<R>> =
  | {
      [K in keyof R]: {
        readonly type: 'request';
        readonly id: number;
        readonly what: K;
        readonly body: R[K]['request'];
      };
    }[keyof R]
  /** The first state of all types was sent: from here on, what is missing does not exist. */
  | { readonly type: 'first-state' }
  | { readonly type: 'certificate'; readonly bundle: CertificateBundle }
  | { readonly type: 'certificate-gone'; readonly identity: string }
  | { readonly type: 'log-level'; readonly level: LogLevel }
  | { readonly type: 'drain'; readonly deadlineMs: number };

/** Worker to main thread: what each program has. */
export type CommonFromWorker<Status> =
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly type: 'failed'; readonly id: number; readonly error: string }
  /** A connection waits for the certificate of this SPIFFE URI. */
  | { readonly type: 'certificate-wanted'; readonly identity: string }
  | { readonly type: 'status'; readonly status: Status }
  | {
      readonly type: 'log';
      readonly level: LogLevel;
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | { readonly type: 'drained'; readonly cut: number };
