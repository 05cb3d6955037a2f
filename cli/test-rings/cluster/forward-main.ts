/** Run inside the control plane's network namespace: `forward-main SOCKET HOST PORT`. */
import { rmSync } from 'node:fs';
import { forward } from './forward.ts';

const [socket = '', host = '', port = ''] = process.argv.slice(2);
rmSync(socket, { force: true });
await forward({ path: socket }, { host, port: Number(port) });
