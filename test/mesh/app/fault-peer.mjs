// A peer that behaves badly, or a crowd of good ones: `fault-peer.mjs <what> …`, prints JSON lines.
import { createServer, connect } from 'node:net';
import process from 'node:process';
import { Buffer } from 'node:buffer';
import { createInterface } from 'node:readline';
import { setInterval, setTimeout } from 'node:timers';

const [what, ...args] = process.argv.slice(2);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const CHUNK = Buffer.alloc(64 * 1024, 'x');

/** Writes for ever, as fast as the stream takes it, and says again and again how much that was. */
function flood(socket) {
  const write = () => {
    while (!socket.destroyed && socket.write(CHUNK));
  };
  socket.on('drain', write);
  socket.on('error', () => undefined);
  const timer = setInterval(() => say({ taken: socket.bytesWritten - socket.writableLength }), 250);
  socket.on('close', () => {
    globalThis.clearInterval(timer);
    say({ flood: 'closed' });
  });
  write();
}

if (what === 'server') {
  // Two ports: one floods whoever comes, one never reads.
  const [floods, mute] = args;
  createServer(flood).listen(Number(floods));
  createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('close', () => say({ mute: 'closed' }));
  }).listen(Number(mute), () => say({ listens: true }));
} else if (what === 'flood') {
  const [host, port] = args;
  const socket = connect({ host, port: Number(port) });
  socket.on('connect', () => flood(socket));
  socket.resume();
} else if (what === 'mute') {
  // Connects and never reads; ends with its input.
  const [host, port] = args;
  const socket = connect({ host, port: Number(port) });
  socket.on('connect', () => say({ mute: 'open' }));
  socket.on('error', () => undefined);
  process.stdin.on('end', () => socket.destroy()).resume();
} else if (what === 'crowd') {
  // So many connections, all begun at once; each says a line and waits for it to come back, and all stay open until the input
  // says `end`, with another line in between for each `again`.
  const [host, port, count] = args;
  const open = new Set();
  const failures = {};
  let greeted = 0;
  let settled = 0;
  const done = () => {
    settled += 1;
    if (settled === Number(count)) say({ good: open.size, greeted, failures });
  };
  for (let i = 0; i < Number(count); i += 1) {
    const socket = connect({ host, port: Number(port) });
    const line = `line ${i}\n`;
    let heard = '';
    let good = false;
    socket.on('connect', () => {
      greeted += 1;
      socket.write(line);
    });
    socket.on('data', (chunk) => {
      heard += chunk;
      if (!heard.endsWith(line)) return;
      heard = '';
      if (!good) {
        good = true;
        open.add(socket);
        done();
      } else socket.emit('again');
    });
    socket.on('error', (error) => {
      if (good) return;
      failures[error.code] = (failures[error.code] ?? 0) + 1;
    });
    socket.on('close', () => {
      open.delete(socket);
      if (!good) done();
    });
    socket.say = () => socket.write(line);
  }
  createInterface({ input: process.stdin }).on('line', (command) => {
    if (command === 'again') {
      const before = [...open];
      let answered = 0;
      let over = false;
      const end = () => {
        if (over) return;
        over = true;
        say({ asked: before.length, answered });
      };
      for (const socket of before) {
        socket.once('again', () => {
          answered += 1;
          if (answered === before.length) end();
        });
        socket.say();
      }
      setTimeout(end, 60_000).unref();
    } else for (const socket of open) socket.destroy();
  });
}
