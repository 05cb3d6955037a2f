/**
 * What one authenticated peer can do to all others: sends each flood, twice in a row and over eight connections, and tells how
 * long the victim's event loop stood, its CPU time and memory, and how a well-behaved client fared meanwhile.
 *
 * `node bench/hostile/main.ts ztunnel|waypoint [text that the flood's name contains]`
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once, type EventEmitter } from 'node:events';
import http2 from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { connectFields, FLOODS, type Flood } from '../../test/support/hostile/floods.ts';
import type { VictimHello, VictimStatus } from './victim.ts';

const FLOOD_MS = 6_000;
const CONNECTIONS = 8;
/** Of its own, as each pod has one. */
const ATTACKER_IP = '127.0.0.2';
const PIECES_AT_ONCE = 400;

const [kind = 'ztunnel', only = ''] = process.argv.slice(2);

for (const flood of FLOODS.filter(({ name }) => name.includes(only))) {
  const victim = fork(fileURLToPath(new URL('./victim.ts', import.meta.url)), [kind], {
    execArgv: ['--expose-gc'],
  });
  const [hello] = (await once(victim, 'message')) as [VictimHello];
  const innocent = startInnocent(hello);
  await sleep(1_000);
  await ask(victim);
  innocent.reset();
  const until = performance.now() + FLOOD_MS;
  const made = await Promise.all(Array.from({ length: CONNECTIONS }, () => attack(hello, flood, until)));
  const status = await ask(victim);
  const during = innocent.reset();
  await sleep(2_000);
  const after = await ask(victim);
  console.log(
    JSON.stringify({
      flood: flood.name,
      stallMs: status.stallMs,
      cpuPercent: Math.round(status.cpuMs / (FLOOD_MS / 100)),
      rssMb: [status.rssMb, after.rssMb],
      heapMb: [status.heapMb, after.heapMb],
      connections: sum(made.map(({ connections }) => connections)),
      pieces: sum(made.map(({ pieces }) => pieces)),
      innocent: during,
    }),
  );
  innocent.stop();
  victim.disconnect();
  await once(victim, 'exit');
}
process.exit(0);

async function ask(victim: ChildProcess): Promise<VictimStatus> {
  victim.send('status');
  const [status] = (await once(victim, 'message')) as [VictimStatus];
  return status;
}

/** Connects again whenever it is cut, until the time is over. */
async function attack(hello: VictimHello, flood: Flood, until: number) {
  let [connections, pieces] = [0, 0];
  const fields = connectFields(hello.authority);
  while (performance.now() < until) {
    const socket = dial(hello, hello.attacker, ATTACKER_IP);
    await first(socket, 'secureConnect', 'close');
    connections += 1;
    if (socket.destroyed) {
      await sleep(5);
      continue;
    }
    socket.resume();
    socket.write(flood.first(fields));
    let n = 0;
    while (!socket.destroyed && socket.writable && performance.now() < until) {
      const many = Array.from({ length: PIECES_AT_ONCE }, () => flood.piece(n++, fields));
      pieces += PIECES_AT_ONCE;
      if (!socket.write(Buffer.concat(many)))
        await Promise.race([first(socket, 'drain', 'close'), sleep(1_000)]);
      else await new Promise((resolve) => setImmediate(resolve));
    }
    socket.destroy();
  }
  return { connections, pieces };
}

/** The first of two events, whatever goes wrong; leaves no listener behind. */
function first(emitter: EventEmitter, a: string, b: string): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      emitter.off(a, done);
      emitter.off(b, done);
      resolve();
    };
    emitter.once(a, done);
    emitter.once(b, done);
  });
}

/** One stream after the other, and how long each took. */
function startInnocent(hello: VictimHello) {
  let slowest = 0;
  let [good, bad] = [0, 0];
  let stopped = false;
  const run = async (): Promise<void> => {
    const session = http2.connect('https://127.0.0.1', {
      createConnection: () => dial(hello, hello.innocent),
    });
    session.on('error', () => undefined);
    while (!stopped) {
      const started = performance.now();
      const ok = await once1(session, hello.authority);
      slowest = Math.max(slowest, performance.now() - started);
      if (ok) good += 1;
      else bad += 1;
      if (session.destroyed) break;
      await sleep(20);
    }
    session.destroy();
  };
  void (async () => {
    while (!stopped) {
      await run();
      await sleep(5);
    }
  })();
  return {
    reset: () => {
      const result = { good, bad, slowestMs: Math.round(slowest) };
      slowest = good = bad = 0;
      return result;
    },
    stop: () => (stopped = true),
  };
}

function once1(session: http2.ClientHttp2Session, authority: string): Promise<boolean> {
  return new Promise((resolve) => {
    if (session.destroyed || session.closed) {
      resolve(false);
      return;
    }
    const stream = session.request({ ':method': 'CONNECT', ':authority': authority }, { endStream: false });
    stream.on('error', () => undefined);
    stream.on('response', (headers) => {
      const ok = (headers as { ':status'?: number })[':status'] === 200;
      stream.close();
      resolve(ok);
    });
    stream.on('close', () => resolve(false));
  });
}

function dial(hello: VictimHello, bundle: VictimHello['attacker'], localAddress?: string): tls.TLSSocket {
  const socket = tls.connect({
    port: hello.port,
    host: '127.0.0.1',
    ...(localAddress !== undefined && { localAddress }),
    ca: hello.rootPem,
    cert: bundle.certChainPem,
    key: bundle.keyPem,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  });
  socket.on('error', () => undefined);
  return socket;
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
