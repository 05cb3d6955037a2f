/** Carries connections from one place to another: between this machine and the control plane's network namespace. */
import { createServer, connect, type ListenOptions, type NetConnectOpts, type Server } from 'node:net';

/** @param to where each connection that is accepted at `from` goes */
export function forward(from: ListenOptions, to: NetConnectOpts): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (inner) => {
    const outer = connect({ ...to, allowHalfOpen: true });
    inner.pipe(outer).pipe(inner);
    inner.on('error', () => outer.destroy());
    outer.on('error', () => inner.destroy());
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(from, () => resolve(server));
  });
}
