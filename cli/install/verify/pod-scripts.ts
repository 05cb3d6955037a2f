/** What runs in the pods of a verification: functions that are sent there as text, so that they use nothing but their arguments. */

const NODE = '/usr/local/bin/node';

/** What a server tells of a request. */
export interface Served {
  /** The address that it came from, as the server sees it. */
  readonly remote: string;
  /** How many probes of the kubelet were answered so far. */
  readonly probes: number;
  /** The header {@link ROUTE_HEADER}, which only a route of a waypoint sets. */
  readonly route: string | null;
}

/** What became of a call. */
export type Dialled =
  | { readonly kind: 'served'; readonly status: number; readonly by: Served | undefined }
  | { readonly kind: 'failed'; readonly error: string };

export const ROUTE_HEADER = 'x-loam-verify';
const CALL_TIMEOUT_MS = 5_000;

async function serve(port: number, header: string): Promise<void> {
  const { createServer } = await import('node:http');
  let probes = 0;
  const server = createServer((request, response) => {
    if (request.url === '/probe') probes += 1;
    const remote = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ remote, probes, route: request.headers[header] ?? null }));
  });
  server.keepAliveTimeout = 60_000;
  server.listen(port);
}

async function dial(url: string, holdMs: number, timeoutMs: number): Promise<void> {
  const { Agent, get } = await import('node:http');
  const say = (outcome: object): void => {
    console.log(JSON.stringify(outcome));
    setTimeout(() => process.exit(), holdMs);
  };
  const failed = (error: NodeJS.ErrnoException): void => {
    console.log(JSON.stringify({ kind: 'failed', error: error.message === '' ? error.code : error.message }));
    process.exit();
  };
  const agent = new Agent({ keepAlive: true });
  const request = get(url, { agent, timeout: timeoutMs }, (response) => {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (part: string) => (text += part));
    response.on('error', failed);
    response.on('end', () => {
      let by: unknown;
      try {
        by = JSON.parse(text);
      } catch {
        // Somebody else answered.
      }
      say({ kind: 'served', status: response.statusCode, by });
    });
  });
  request.on('timeout', () => request.destroy(new Error(`no answer for ${timeoutMs / 1000} s`)));
  request.on('error', failed);
}

async function lookUp(name: string): Promise<void> {
  const { lookup } = await import('node:dns/promises');
  const found = await lookup(name, { all: true }).then(
    (all) => ({ addresses: all.map(({ address }) => address) }),
    (error: Error) => ({ error: error.message }),
  );
  console.log(JSON.stringify(found));
}

async function show(url: string): Promise<void> {
  const response = await fetch(url);
  console.log(await response.text());
}

function command(script: (...args: never[]) => unknown, ...args: readonly (string | number)[]): string[] {
  return [NODE, '-e', `(${script.toString()})(${args.map((arg) => JSON.stringify(arg)).join(', ')})`];
}

/** A server of HTTP on a port. */
export function serveCommand(port: number): string[] {
  return command(serve, port, ROUTE_HEADER);
}

/** Lives until it is ended. */
export function idleCommand(): string[] {
  return [NODE, '-e', 'setInterval(() => {}, 2 ** 30)'];
}

/** One GET; prints {@link Dialled}. @param holdMs how long the connection then stays open */
export function dialCommand(url: string, holdMs = 0): string[] {
  return command(dial, url, holdMs, CALL_TIMEOUT_MS);
}

/** Prints `{addresses}` of a name, or `{error}`. */
export function lookUpCommand(name: string): string[] {
  return command(lookUp, name);
}

/** Prints what a page of the pod's own holds. */
export function showCommand(url: string): string[] {
  return command(show, url);
}
