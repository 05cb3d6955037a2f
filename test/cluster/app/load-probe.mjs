// What a bench puts through a mesh, with the time of everything that goes wrong.
// `load-probe.mjs serve PORT`: gives back what it gets.
// `load-probe.mjs streams HOST PORT COUNT INTERVAL_MS`: connections that stay open, a round trip on each every interval.
// `load-probe.mjs connections HOST PORT INTERVAL_MS`: a new connection every interval, a round trip, the end.
// A client says `started`, ends when its input ends, and prints what it saw as one line of JSON; times are ms since the epoch.
import console from 'node:console';
import { connect, createServer } from 'node:net';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

/** A round trip that takes longer counts as lost. */
const PATIENCE_MS = 10_000;
const [role, ...args] = process.argv.slice(2);

const over = new globalThis.AbortController();

/** Opens a connection. */
function open(host, port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), noDelay: true });
    socket.setTimeout(PATIENCE_MS, () => socket.destroy(Object.assign(new Error(), { code: 'TIMEOUT' })));
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** One round trip. @throws as the connection does */
function trip(socket) {
  return new Promise((resolve, reject) => {
    const end = (settle, value) => {
      socket.off('data', onData).off('error', onError).off('close', onClose);
      settle(value);
    };
    const onData = () => end(resolve);
    const onError = (error) => end(reject, error);
    const onClose = () => end(reject, Object.assign(new Error(), { code: 'CLOSED' }));
    socket.on('data', onData).on('error', onError).on('close', onClose);
    if (socket.destroyed) onClose();
    else socket.write('a round trip of the bench\n');
  });
}

async function stream(host, port, intervalMs, cuts) {
  let socket;
  try {
    socket = await open(host, port);
    socket.on('error', () => undefined);
    while (!over.signal.aborted) {
      await trip(socket);
      await sleep(intervalMs);
    }
  } catch (error) {
    cuts.push({ at: Date.now(), why: error.code ?? error.message });
  } finally {
    socket?.destroy();
  }
}

async function streams(host, port, count, intervalMs) {
  const cuts = [];
  const all = Array.from({ length: Number(count) }, () => stream(host, port, Number(intervalMs), cuts));
  await sleep(1000);
  console.log('started');
  await Promise.all(all);
  console.log(JSON.stringify({ streams: all.length, cuts }));
}

async function connections(host, port, intervalMs) {
  const failures = [];
  const times = [];
  const underway = new Set();
  let slowest = { at: 0, ms: 0 };
  const one = async () => {
    const at = Date.now();
    const begun = globalThis.performance.now();
    let socket;
    try {
      socket = await open(host, port);
      await trip(socket);
      const ms = globalThis.performance.now() - begun;
      times.push(ms);
      if (ms > slowest.ms) slowest = { at, ms };
    } catch (error) {
      failures.push({ at, ms: globalThis.performance.now() - begun, why: error.code ?? error.message });
    } finally {
      socket?.destroy();
    }
  };
  console.log('started');
  for (let next = globalThis.performance.now(); !over.signal.aborted;) {
    const run = one().finally(() => underway.delete(run));
    underway.add(run);
    next += Number(intervalMs);
    await sleep(Math.max(0, next - globalThis.performance.now()));
  }
  await Promise.all(underway);
  times.sort((a, b) => a - b);
  const quantile = (q) => times[Math.min(times.length - 1, Math.floor(q * times.length))] ?? 0;
  console.log(
    JSON.stringify({
      made: times.length + failures.length,
      failures,
      slowest,
      p50: quantile(0.5),
      p99: quantile(0.99),
    }),
  );
}

if (role === 'serve') {
  createServer((socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  }).listen({ port: Number(args[0]), host: '::', backlog: 4096 });
} else {
  process.stdin.on('end', () => over.abort()).resume();
  await (role === 'streams' ? streams : connections)(...args);
  process.exit(0);
}
