import type { FromWorker, ToWorker } from './worker.ts';

const ADDRESS = '/worker.js';

/** The one text that may become the address of a script. */
const scripts = (
  globalThis as {
    trustedTypes?: { createPolicy(name: string, rules: object): { createScriptURL(url: string): string } };
  }
).trustedTypes?.createPolicy('loam', { createScriptURL: (url: string) => (url === ADDRESS ? url : '') });

let worker: Worker | undefined;

/** There is one worker, which begins when it is first asked for. */
export function graphWorker(): Worker {
  return (worker ??= new Worker(scripts?.createScriptURL(ADDRESS) ?? ADDRESS, { type: 'module' }));
}

export function tellWorker(message: ToWorker): void {
  graphWorker().postMessage(message);
}

/** @returns ends it */
export function onWorker(listener: (message: FromWorker) => void): () => void {
  const target = graphWorker();
  const onMessage = ({ data }: MessageEvent<FromWorker>): void => listener(data);
  target.addEventListener('message', onMessage);
  return () => target.removeEventListener('message', onMessage);
}
