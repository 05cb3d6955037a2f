/** A worker for tests: it answers, tells what it was told, and ends when asked to. */
import { parentPort } from 'node:worker_threads';
import type { CommonFromWorker, CommonToWorker } from '../../../../../lib/mesh/worker/messages.ts';

export interface ToyRequests {
  readonly echo: { readonly request: string; readonly answer: string };
  readonly fail: { readonly request: string; readonly answer: never };
  readonly end: { readonly request: 'exit' | 'throw'; readonly answer: never };
}
export interface ToyToWorker {
  readonly type: 'say';
  readonly what: string;
}
export type ToyFromWorker =
  { readonly type: 'told'; readonly what: string } | CommonFromWorker<{ readonly load: number }>;

const post = (message: ToyFromWorker): void => parentPort?.postMessage(message);

parentPort?.on('message', (message: CommonToWorker<ToyRequests> | ToyToWorker) => {
  switch (message.type) {
    case 'say':
      post({ type: 'told', what: message.what });
      post({ type: 'status', status: { load: 1 } });
      post({ type: 'log', level: 'warn', message: message.what, fields: { a: 1 } });
      post({ type: 'certificate-wanted', identity: message.what });
      return;
    case 'request':
      if (message.what === 'echo') post({ type: 'answer', id: message.id, value: message.body });
      else if (message.what === 'fail') post({ type: 'failed', id: message.id, error: message.body });
      else if (message.body === 'exit') process.exit(3);
      else throw new Error('broken');
      return;
    case 'drain':
      // One that was given no time at all stands for one that ends over it.
      if (message.deadlineMs === 0) process.exit(0);
      else post({ type: 'drained', cut: 2 });
      return;
    default:
      post({ type: 'told', what: message.type });
  }
});
