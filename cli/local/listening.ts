import { readFileSync } from 'node:fs';

const LISTEN = '0A';
/** Where the agent's listeners are bound (lib/linux/socket): nobody can dial it, so it is no application's. */
const STEERED = ['FFFFFFFF', '0000000000000000FFFF0000FFFFFFFF'];

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
      const at = local?.lastIndexOf(':') ?? -1;
      if (state !== LISTEN || local === undefined || STEERED.includes(local.slice(0, at))) continue;
      ports.add(parseInt(local.slice(at + 1), 16));
    }
  }
  return ports;
}
