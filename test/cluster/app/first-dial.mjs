// First thing of all, dials somewhere and says whether the kernel turned it to the mesh: it is then connected with the pod's
// own address. Stays when it is told to.
import console from 'node:console';
import process from 'node:process';
import { setImmediate, setInterval } from 'node:timers';
import { readFileSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';

const [host, port, stay] = process.argv.slice(2);
const socket = connect({ host, port: Number(port) });
socket.on('error', () => undefined);
// Node dials in a later turn than it is asked to.
setImmediate(() => {
  const inode = /\d+/.exec(readlinkSync(`/proc/self/fd/${socket._handle.fd}`))?.[0];
  const row = readFileSync('/proc/self/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .find((fields) => fields[9] === inode);
  const [local, remote] = [row?.[1], row?.[2]].map((end) => end?.split(':')[0]);
  console.log(
    row === undefined ? 'not known' : local === remote ? 'redirected' : `past the mesh: ${local} ${remote}`,
  );
  socket.destroy();
  if (stay === 'stay') setInterval(() => undefined, 1 << 30);
});
