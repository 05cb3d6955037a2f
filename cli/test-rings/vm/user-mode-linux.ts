/** Debian's User Mode Linux: a real kernel, in a process, that lacks some of what Loam needs. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import { BEGIN, END, quoted } from './guest.ts';
import { readResult, type GuestResult } from './qemu.ts';

/**
 * Runs a command as root on that kernel, with this machine's file system, read-only.
 *
 * @param linux path of the kernel's program
 */
export async function runInUml(
  linux: string,
  command: readonly string[],
  timeoutMs: number,
): Promise<GuestResult> {
  const work = mkdtempSync(join(tmpdir(), 'loam-uml-'));
  try {
    const init = join(work, 'init');
    const path = `${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
    writeFileSync(
      init,
      `#!/bin/sh
export PATH=${quoted(path)} HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
echo "${BEGIN}$(uname -r)"
cd ${quoted(packageRoot())}
${command.map(quoted).join(' ')} </dev/null
echo "${END}$?"
exec poweroff -f
`,
      { mode: 0o755 },
    );
    const args = ['mem=1024M', 'rootfstype=hostfs', 'rootflags=/', 'ro', `init=${init}`, 'quiet'];
    const child = spawn(linux, [...args, 'con=null', 'con0=null,fd:1'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      // It is a family of processes; as a group it is ended whole.
      detached: true,
    });
    const kill = (): void => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    };
    process.once('exit', kill);
    const timer = setTimeout(kill, timeoutMs);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await new Promise((resolve) => child.once('close', resolve));
    clearTimeout(timer);
    process.off('exit', kill);
    return readResult(output);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
