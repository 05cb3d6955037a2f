// `serve PORT`: sends a line ten times a second to whoever connects. `listen HOST PORT`: says what it gets, and how it ended.
import console from 'node:console';
import process from 'node:process';
import { clearInterval, setInterval } from 'node:timers';
import { connect, createServer } from 'node:net';

const [what, ...rest] = process.argv.slice(2);
if (what === 'serve') {
  createServer((socket) => {
    const timer = setInterval(() => socket.write('tick\n'), 100);
    socket.on('error', () => undefined).on('close', () => clearInterval(timer));
  }).listen(Number(rest[0]));
} else {
  const socket = connect(Number(rest[1]), rest[0]);
  let ticks = 0;
  socket.on('data', (data) => {
    ticks += data.toString().split('\n').length - 1;
    console.log(`ticks ${ticks}`);
  });
  socket.on('error', ({ code }) => console.log(`ended ${code}`));
  socket.on('close', () => setInterval(() => undefined, 1 << 30));
}
