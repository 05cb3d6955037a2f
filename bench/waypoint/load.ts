/**
 * The load: `node load.ts FOLDER`, one JSON command a line on standard input, one JSON answer a line on standard output.
 * Closed loop: each connection asks again when it has its answer.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { readBundle } from './authority.ts';
import { carrierOf, type Carrier } from './carrier.ts';
import { HttpClient } from './http-client.ts';
import { routePath, type Way } from './plan.ts';

export type Command =
  /** Asks one path on a connection of its own. */
  | { readonly do: 'probe'; readonly way: Way; readonly path: string }
  /** Asks on so many connections for so long, each request another of so many routes. */
  | {
      readonly do: 'run';
      readonly way: Way;
      readonly routes: number;
      readonly connections: number;
      readonly seconds: number;
    }
  /** Opens so many more connections, each used once, and keeps them until told to let go. */
  | { readonly do: 'hold'; readonly way: Way; readonly connections: number }
  | { readonly do: 'release' };

export interface Answer {
  /** probe: the status, or 0 without one. */
  readonly status?: number;
  readonly requests?: number;
  /** Other than 200, or lost. */
  readonly failed?: number;
  readonly seconds?: number;
  /** Microseconds. */
  readonly p50?: number;
  readonly p99?: number;
}

/** So many dials at once while connections are opened. */
const DIALS_AT_ONCE = 16;
/** After so long a probe has no answer. */
const PROBE_MS = 3_000;

const bundle = readBundle(process.argv[2] ?? '.', 'client');
const carriers = new Map<Way, Carrier>();
const held: HttpClient[] = [];
/** The route that was asked last: one run goes on where the former ended. */
let asked = 0;

function carrier(way: Way): Carrier {
  const known = carriers.get(way) ?? carrierOf(way, bundle);
  carriers.set(way, known);
  return known;
}

async function open(way: Way, count: number): Promise<HttpClient[]> {
  const clients: HttpClient[] = [];
  const opener = async (): Promise<void> => {
    while (clients.length < count) {
      const at = clients.length;
      // Its place is taken before the wait, so that no opener makes one too many.
      clients.length = at + 1;
      clients[at] = new HttpClient(await carrier(way)());
    }
  };
  await Promise.all(Array.from({ length: Math.min(DIALS_AT_ONCE, count) }, opener));
  return clients;
}

async function probe(way: Way, path: string): Promise<Answer> {
  let client: HttpClient | undefined;
  try {
    [client] = await open(way, 1);
    const late = sleep(PROBE_MS, 0, { ref: false });
    return { status: (await Promise.race([client?.get(path), late])) ?? 0 };
  } catch {
    return { status: 0 };
  } finally {
    client?.close();
  }
}

async function run(command: Extract<Command, { do: 'run' }>): Promise<Answer> {
  const clients = await open(command.way, command.connections);
  const micros: number[] = [];
  let failed = 0;
  const start = performance.now();
  const end = start + command.seconds * 1000;
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() < end) {
        // A step that is coprime to usual route counts goes through all of them, and never in order.
        asked = (asked + 7919) % command.routes;
        const since = performance.now();
        try {
          if ((await client.get(`${routePath(asked)}x`)) !== 200) failed += 1;
        } catch {
          failed += 1;
          return;
        }
        micros.push((performance.now() - since) * 1000);
      }
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  for (const client of clients) client.close();
  micros.sort((a, b) => a - b);
  const at = (share: number): number => micros[Math.floor(micros.length * share)] ?? 0;
  return { requests: micros.length, failed, seconds, p50: at(0.5), p99: at(0.99) };
}

async function hold(way: Way, connections: number): Promise<Answer> {
  const clients = await open(way, connections);
  held.push(...clients);
  let failed = 0;
  for (const client of clients) if ((await client.get(`${routePath(0)}x`)) !== 200) failed += 1;
  return { requests: clients.length, failed };
}

async function follow(command: Command): Promise<Answer> {
  switch (command.do) {
    case 'probe':
      return probe(command.way, command.path);
    case 'run':
      return run(command);
    case 'hold':
      return hold(command.way, command.connections);
    case 'release':
      for (const client of held.splice(0)) client.close();
      return {};
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await follow(JSON.parse(line) as Command)));
}
process.exit(0);
