// `short-server.mjs PORT`: gives one byte back for each that comes, and ends when its client does. Listens for both families.
import { createServer } from 'node:net';
import process from 'node:process';

createServer((socket) => {
  socket.on('error', () => undefined);
  socket.pipe(socket);
}).listen({ port: Number(process.argv[2]), host: '::', backlog: 4096 });
