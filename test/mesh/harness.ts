import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot, siblingModule } from '../../lib/package-root.ts';
import { parseAccessLine, LogTail, type AccessLine } from '../../cli/demo/access-log.ts';
import { takeDown } from '../../cli/local/down.ts';
import { ask } from '../../cli/local/http.ts';
import { netnsName, netnsPath } from '../../cli/local/names.ts';
import { meshPaths, type MeshPaths } from '../../cli/local/paths.ts';
import { meshEnvironment, ZTUNNEL_ADMIN_PORT, ZTUNNEL_METRICS_PORT } from '../../cli/local/programs.ts';
import type { PodReport, ProgramReport } from '../../cli/local/report.ts';
import { inSandbox } from '../../cli/local/sandbox.ts';
import { meshStatus, supervisorReport, type MeshStatus } from '../../cli/local/status.ts';
import { startSupervisor, waitUntilReady } from '../../cli/local/up.ts';
import { PATIENCE } from '../support/patience.ts';

const READY_TIMEOUT_MS = 60_000 * PATIENCE;
const EVENTUALLY_MS = 30_000 * PATIENCE;
const POLL_MS = 50;

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a process to its end. */
export function finished(child: ChildProcess, input?: string | Buffer): Promise<CommandResult> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Polls until `look` gives something; what is true in the end matters, not how soon. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const deadline = Date.now() + EVENTUALLY_MS;
  let lastError: unknown;
  while (Date.now() < deadline) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      lastError = error;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`in vain waited for: ${what}`, { cause: lastError });
}

/** The `loam` command line of this tree, as a user would type it. */
export function loam(...args: string[]): ChildProcess {
  const main = fileURLToPath(siblingModule(import.meta.url, '../../cli/main'));
  return spawn(process.execPath, [main, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
}

/** A local mesh with a name of its own, from manifests in a folder of its own. */
export class Mesh {
  readonly name: string;
  readonly dir: string;
  readonly paths: MeshPaths;

  private constructor(name: string, dir: string) {
    this.name = name;
    this.dir = dir;
    this.paths = meshPaths(name);
  }

  /** @param manifests text by file name */
  static prepare(manifests: Readonly<Record<string, string>>): Mesh {
    const mesh = new Mesh(
      `t${randomBytes(4).toString('hex')}`,
      mkdtempSync(join(tmpdir(), 'loam-mesh-test-')),
    );
    for (const [file, text] of Object.entries(manifests)) mesh.write(file, text);
    return mesh;
  }

  /** @param settings of the mesh's programs: LOAM_… */
  static async up(
    manifests: Readonly<Record<string, string>>,
    settings: Readonly<Record<string, string>> = {},
  ): Promise<Mesh> {
    const mesh = Mesh.prepare(manifests);
    await mesh.start(settings);
    return mesh;
  }

  /** Its supervisor dies with this process, so that a test run that is killed leaves nothing. */
  async start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    const supervisor = startSupervisor({
      mesh: this.name,
      manifests: this.dir,
      dieWithParent: true,
      settings,
    });
    await waitUntilReady(
      { mesh: this.name, timeoutMs: READY_TIMEOUT_MS, onWaiting: () => undefined },
      supervisor,
    );
  }

  async down(): Promise<void> {
    await takeDown(this.name);
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Writes a manifest as an editor does: beside, then renamed. */
  write(file: string, text: string): void {
    const path = join(this.dir, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(`${path}~`, text);
    renameSync(`${path}~`, path);
  }

  remove(file: string): void {
    rmSync(join(this.dir, file));
  }

  status(): Promise<MeshStatus> {
    return meshStatus(this.name);
  }

  /** @param name of a pod, or `namespace/name` where several namespaces have one of that name */
  async pod(name: string): Promise<PodReport> {
    const pods = (await supervisorReport(this.name)).pods.filter(
      (each) => each.name === name || `${each.namespace}/${each.name}` === name,
    );
    const [pod, another] = pods;
    if (pod === undefined) throw new Error(`the mesh has no pod ${name}`);
    if (another !== undefined)
      throw new Error(`pods named ${name} are in ${pod.namespace} and ${another.namespace}: say which`);
    return pod;
  }

  /** Starts a command in a pod. */
  async spawn(podName: string, ...command: [string, ...string[]]): Promise<ChildProcess> {
    const pod = await this.pod(podName);
    if (pod.initPid === undefined) throw new Error(`pod ${podName} does not run`);
    const [file, ...args] = inSandbox(pod.initPid, 'TERM', this.dir, command);
    return spawn(file, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...meshEnvironment('test'), LOAM_TEST_PATIENCE: String(PATIENCE) },
    });
  }

  async exec(podName: string, ...command: [string, ...string[]]): Promise<CommandResult> {
    return finished(await this.spawn(podName, ...command));
  }

  /** Runs app/client.mjs in a pod. @returns its JSON lines */
  async client(podName: string, ...args: string[]): Promise<unknown[]> {
    const { stdout } = await this.exec(podName, 'node', appFile('client.mjs'), ...args);
    return jsonLines(stdout);
  }

  netns(role: Parameters<typeof netnsName>[1]): string {
    return netnsPath(netnsName(this.name, role));
  }

  /** The running program of a node (or the controller), or an instance of a waypoint: `namespace/name-0`. */
  async program(
    program: ProgramReport['program'],
    node?: string,
    instance?: string,
  ): Promise<ProgramReport & { state: 'running' }> {
    return eventually(`${program} ${instance ?? node ?? ''} to run`, async () => {
      const found = (await supervisorReport(this.name)).programs.find(
        (each) =>
          each.program === program &&
          (instance === undefined ? each.node === node : each.instance === instance),
      );
      return found?.state === 'running' ? found : undefined;
    });
  }

  /** Everything that the ztunnel of a node has written into its access log. */
  accessLog(node: string): AccessLine[] {
    const tail = new LogTail(this.paths.logOf('ztunnel', node), 'start');
    try {
      return tail
        .read()
        .map(parseAccessLine)
        .filter((line) => line !== undefined);
    } finally {
      tail.close();
    }
  }

  /** What ztunnels and waypoints say of failures since then, as text for a test that failed. */
  failures(since: number): string {
    const lines = readdirSync(this.paths.logs)
      .filter((file) => /^(ztunnel|waypoint)-/.test(file))
      .flatMap((file) => readFileSync(join(this.paths.logs, file), 'utf8').split('\n'))
      .filter((line) => line.includes('"error"') && !line.includes('"response_flags":"DENY"'));
    const at = (line: string): number => Number(/"time":(\d+)/.exec(line)?.[1]);
    return lines
      .filter((line) => !(at(line) < since))
      .slice(-20)
      .join('\n');
  }

  /** Until the agent of a node holds for the next ztunnel all that the present one knows. */
  async stateHeld(node: string): Promise<void> {
    const netns = netnsName(this.name, { kind: 'node', node });
    await eventually(`the agent of ${node} to hold the latest state`, async () => {
      const { body } = await ask({ netns, port: ZTUNNEL_ADMIN_PORT }, '/config_dump');
      return (JSON.parse(body) as { heldState: { isHanded: boolean } }).heldState.isHanded;
    });
  }

  /** Until the ztunnel of a node has heard that these pods can take traffic, which is later than that they can. */
  async heardHealthy(node: string, ...names: readonly string[]): Promise<void> {
    const netns = netnsName(this.name, { kind: 'node', node });
    await eventually(`ztunnel of ${node} to know ${names.join(', ')} as healthy`, async () => {
      const { body } = await ask({ netns, port: ZTUNNEL_ADMIN_PORT }, '/config_dump');
      const { workloads } = JSON.parse(body) as { workloads: readonly { name: string; healthy: boolean }[] };
      return names.every((name) => workloads.some((each) => each.name === name && each.healthy));
    });
  }

  async metrics(node: string): Promise<string> {
    const netns = netnsName(this.name, { kind: 'node', node });
    return (await ask({ netns, port: ZTUNNEL_METRICS_PORT }, '/metrics')).body;
  }
}

export function jsonLines(text: string): unknown[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as unknown);
}

export function appFile(name: string): string {
  return join(packageRoot(), 'test', 'mesh', 'app', name);
}
