import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, describe, it } from 'mocha';
import { eventually, finished, loam, Mesh } from './harness.ts';
import { BASE } from './manifests.ts';

interface BpfObject {
  readonly id: number;
  readonly prog_id?: number;
  readonly pinned?: readonly string[];
}

async function bpftool(...args: string[]): Promise<BpfObject[]> {
  const { stdout } = await finished(spawn('bpftool', ['-f', '-j', ...args], { stdio: 'pipe' }));
  return JSON.parse(stdout || '[]') as BpfObject[];
}

/** What a mesh has on this machine, by its name or by what its agents pinned. */
async function footprint(mesh: string): Promise<{ links: number[]; programs: number[]; names: string[] }> {
  const ours = (object: BpfObject): boolean =>
    object.pinned?.some((path) => path.includes(`/loam/${mesh}-`)) === true;
  const links = (await bpftool('link', 'show')).filter(ours);
  return {
    links: links.map((link) => link.id),
    programs: links.flatMap((link) => link.prog_id ?? []),
    names: namesOf(mesh),
  };
}

function namesOf(mesh: string): string[] {
  const list = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir) : []);
  return [
    ...list('/run/netns').filter((name) => name.startsWith(`loam-${mesh}-`)),
    ...list('/sys/fs/bpf/loam').filter((name) => name.startsWith(`${mesh}-`)),
    ...list('/run/loam').filter((name) => name === mesh),
    ...readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .filter((line) => line.includes(`loam-${mesh}-`)),
    ...processesOf(mesh),
  ];
}

/** Processes whose command line names the mesh: its programs by their flags, its pods' by their files. */
function processesOf(mesh: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return command.includes(mesh) ? [`${pid} ${command}`] : [];
      } catch {
        return [];
      }
    });
}

describe('mesh: leaves nothing behind', function () {
  this.timeout(120_000);
  const mesh = Mesh.prepare(BASE);
  after(() => mesh.down());

  async function gone(before: Awaited<ReturnType<typeof footprint>>): Promise<void> {
    await eventually('all of it to be gone', async () => {
      const links = new Set((await bpftool('link', 'show')).map((each) => each.id));
      const programs = new Set((await bpftool('prog', 'show')).map((each) => each.id));
      const left = [
        ...namesOf(mesh.name),
        ...before.links.filter((id) => links.has(id)),
        ...before.programs.filter((id) => programs.has(id)),
      ];
      if (left.length > 0) throw new Error(`left: ${left.join('\n')}`);
      return true;
    });
  }

  it('after an ordinary end', async () => {
    await mesh.start();
    const before = await footprint(mesh.name);
    assert.ok(before.links.length >= 10 && before.names.length > 10, JSON.stringify(before));
    const { code, stderr } = await finished(loam('local', 'down', '--name', mesh.name));
    assert.equal(code, 0, stderr);
    await gone(before);
  });

  it('after kill -9 of everything, a new start, and an end', async () => {
    await mesh.start();
    const before = await footprint(mesh.name);
    const { report } = await mesh.status();
    const pids = [
      report.supervisorPid,
      ...report.programs.flatMap((each) => (each.state === 'running' ? [each.pid] : [])),
      ...report.pods.flatMap((pod) => pod.initPid ?? []),
    ];
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await eventually('all processes to end', () => processesOf(mesh.name).length === 0);
    assert.ok(existsSync(mesh.paths.dir), 'a killed mesh leaves its state, for the next start to find');
    const up = await finished(loam('local', 'up', mesh.dir, '--name', mesh.name));
    assert.equal(up.code, 0, up.stdout + up.stderr);
    const down = await finished(loam('local', 'down', '--name', mesh.name));
    assert.equal(down.code, 0, down.stderr);
    await gone(before);
  });

  it('after its state was deleted under it', async () => {
    await mesh.start();
    const before = await footprint(mesh.name);
    rmSync(mesh.paths.dir, { recursive: true });
    const { code, stdout, stderr } = await finished(loam('local', 'down', '--name', mesh.name));
    assert.equal(code, 0, stdout + stderr);
    await gone(before);
  });

  it('after kill -9 of the supervisor, by down alone, though what it wrote down is corrupt', async () => {
    await mesh.start();
    const before = await footprint(mesh.name);
    process.kill((await mesh.status()).report.supervisorPid, 'SIGKILL');
    writeFileSync(mesh.paths.meshFile, '{"mesh": 7, "nodes": {}}');
    const { code, stdout, stderr } = await finished(loam('local', 'down', '--name', mesh.name));
    assert.equal(code, 0, stderr);
    assert.match(stdout, /removed what was left: .*network namespaces/);
    await gone(before);
  });
});
