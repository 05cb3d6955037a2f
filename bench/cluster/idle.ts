/** Memory and CPU of each part while nothing happens. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestCluster } from '../../test/cluster/support/cluster.ts';
import { processesOf } from './scene.ts';

const PROGRAMS = ['controller', 'agent', 'ztunnel', 'waypoint'] as const;
/** USER_HZ, as Linux shows it to programs on every platform (proc(5)). */
const TICKS_PER_S = 100;

export async function idle(
  cluster: TestCluster,
  seconds: number,
  say: (text: string) => void,
): Promise<void> {
  const all = PROGRAMS.flatMap((program) =>
    processesOf(cluster, program).map((pid) => ({ program, pid, before: ticks(pid) })),
  );
  await sleep(seconds * 1000);
  for (const { program, pid, before } of all) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const mb = (field: string): string =>
      (Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 1024).toFixed(0);
    const millicores = (((ticks(pid) - before) / TICKS_PER_S / seconds) * 1000).toFixed(1);
    say(
      `idle: ${program} ${mb('VmRSS')} MB (anonymous ${mb('RssAnon')}), ${millicores} thousandths of a core`,
    );
  }
}

function ticks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // After the name, which may hold spaces: state is field 3, utime 14, stime 15 (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}
