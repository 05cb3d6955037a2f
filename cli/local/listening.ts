import { readFileSync } from 'node:fs';

const LISTEN = '0A';
/** Where the agent's listeners are bound (lib/linux/socket): nobody can dial it, so it is no application's. */
const STEERED = 'FFFFFFFF:';

/** The TCP ports on which somebody listens in a process's network namespace, by /proc alone: nothing is dialled. */
export function listeningPorts(pid: number): Set<number> {
  const ports = new Set<number>();
  for (const table of ['tcp', 'tcp6']) {
    let text: string;
    try {
      text = readFileSync(`/proc/${pid}/net/${table}`, 'utf8');
    } catch {
      continue;
    }
    // proc_net_tcp: "sl local_address rem_address st …", addresses as HEX:PORT
    for (const line of text.split('\n').slice(1)) {
      const [, local, , state] = line.trim().split(/\s+/);
      if (state === LISTEN && local !== undefined && !local.startsWith(STEERED))
        ports.add(parseInt(local.slice(local.lastIndexOf(':') + 1), 16));
    }
  }
  return ports;
}
