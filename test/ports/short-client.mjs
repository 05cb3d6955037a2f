// `short-client.mjs HOST PORT CONNECTIONS AT_ONCE`: short connections to one port, each with a byte there and back,
// as fast as they are taken; prints one JSON line with what came of them.
import console from 'node:console';
import { connect } from 'node:net';
import { performance } from 'node:perf_hooks';
import process from 'node:process';

const [host, ...numbers] = process.argv.slice(2);
const [port, connections, atOnce] = numbers.map(Number);
const begun = performance.now();
const failures = {};
let started = 0;
let succeeded = 0;

function one() {
  return new Promise((resolve) => {
    let answered = false;
    let failure;
    const socket = connect({ host, port });
    const fail = (why) => {
      failure ??= why;
      socket.destroy();
    };
    socket.on('error', (error) => fail(`${error.code} ${error.syscall}`));
    socket.on('connect', () => socket.write('x'));
    socket.on('data', () => {
      answered = true;
      // The client ends first, so that its side is the one with TIME_WAIT.
      socket.end();
    });
    socket.on('end', () => {
      if (!answered) fail('CLOSED');
    });
    socket.on('close', () => {
      if (failure === undefined) succeeded += 1;
      else failures[failure] = (failures[failure] ?? 0) + 1;
      resolve();
    });
  });
}

async function lane() {
  while (started < connections) {
    started += 1;
    await one();
  }
}

await Promise.all(Array.from({ length: atOnce }, lane));
console.log(JSON.stringify({ succeeded, failures, seconds: (performance.now() - begun) / 1000 }));
