// The client of the mesh tests: `client.mjs <what> <host> <port> …`, prints JSON lines.
import console from 'node:console';
import { connect } from 'node:net';
import process from 'node:process';
import { setTimeout } from 'node:timers';

const [what, host, portText, text = ''] = process.argv.slice(2);
const port = Number(portText);
// As in test/support/patience.ts.
const patience = Number(process.env.LOAM_TEST_PATIENCE ?? 1);
const say = (value) => console.log(JSON.stringify(value));
const who = (socket) => ({
  remote: `${socket.remoteAddress}:${socket.remotePort}`,
  local: socket.localAddress,
});

/** Connects, and collects all that arrives until it is enough, the end, an error, or the time is over. */
function dial(onConnect, ms = 5000, isEnough = () => false) {
  return new Promise((resolve) => {
    let received = '';
    let connected = false;
    const socket = connect({ host, port });
    const done = (end) => {
      socket.destroy();
      resolve({ connected, received, end });
    };
    const timer = setTimeout(() => done('timeout'), ms * patience);
    timer.unref();
    socket.on('connect', () => {
      connected = true;
      onConnect(socket);
    });
    socket.on('data', (chunk) => {
      received += chunk;
      if (isEnough(received)) done('enough');
    });
    socket.on('end', () => done('closed'));
    socket.on('error', (error) => done(error.code));
  });
}

if (what === 'names') {
  // What the application sees of its own connection.
  say(await dial((socket) => (say(who(socket)), socket.end())));
} else if (what === 'listen') {
  // Says nothing: is anything said to us?
  say(
    await dial(
      () => undefined,
      Number(text),
      (received) => received.endsWith('\n'),
    ),
  );
} else if (what === 'many') {
  // So many at once to a port that greets and gives back: how many came back whole, and what became of the others?
  const ends = {};
  const one = async (i) => {
    const line = `connection ${i}\n`;
    const { received, end } = await dial(
      (socket) => socket.write(line),
      60_000,
      (said) => said.endsWith(line),
    );
    const word = end === 'enough' && /^HELLO .*\n/.test(received) ? 'good' : `${end} after ${received}`;
    ends[word] = (ends[word] ?? 0) + 1;
  };
  await Promise.all(Array.from({ length: Number(text) }, (_, i) => one(i)));
  say(ends);
} else if (what === 'hold') {
  // Keeps a connection in use until it is closed.
  const socket = connect({ host, port });
  let timer;
  socket.on('connect', () => {
    timer = globalThis.setInterval(() => socket.write('still here\n'), 50);
  });
  socket.once('data', () => say('open'));
  socket.on('data', () => undefined);
  socket.on('error', () => undefined);
  socket.on('close', () => {
    globalThis.clearInterval(timer);
    say('closed');
  });
} else if (what === 'load') {
  // One connection after the other, each with the text, until told to stop.
  let running = true;
  const counts = { good: 0, failed: 0, errors: {} };
  process.on('SIGTERM', () => (running = false));
  // A machine that is emulated must have time for other things: a tunnel that is not there in 10 s is given up.
  const restMs = 5 * (patience > 1 ? 4 * patience : 1);
  say('started');
  while (running) {
    const { received, end } = await dial((socket) => socket.end(text), 15000);
    if (received.includes(text)) counts.good += 1;
    else {
      counts.failed += 1;
      counts.errors[end] = (counts.errors[end] ?? 0) + 1;
    }
    await new Promise((resolve) => setTimeout(resolve, restMs));
  }
  say(counts);
}
