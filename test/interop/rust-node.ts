import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { askJson } from '../../cli/local/http.ts';
import type { ControllerStatus } from '../../cli/local/status.ts';
import { peersFolder } from '../../cli/test-rings/rings.ts';
import { siblingModule } from '../../lib/package-root.ts';
import { HARNESS_ENV, nodeNetnsOf } from './harness.ts';
import { nodeOf, type ServedPod, until } from './loam-side.ts';

const CONTROLLER = '127.0.0.1:15012';
const DUMP = 'http://127.0.0.1:15000/config_dump';
const STOP_MS = 8000;

/**
 * One node of the harness that runs Istio's Rust ztunnel, in shared mode, with Loam's controller as its
 * control plane: workloads, services and policies by delta xDS, certificates by the certificate service.
 * A controller runs inside each node's namespace; given the same files and authority, all say the same.
 */
export class RustNode {
  readonly #children: ChildProcess[] = [];
  readonly #folder: string;
  readonly #pair: string;
  readonly #pod: ServedPod;
  readonly #onDemand: boolean;

  /** @param onDemand whether it asks for the addresses that it needs, and does not follow all */
  constructor(pair: string, pod: ServedPod, folder: string, onDemand = false) {
    this.#pair = pair;
    this.#pod = pod;
    this.#onDemand = onDemand;
    this.#folder = join(folder, `rust-${pod.side}`);
  }

  /** @param mesh the folder with the mesh's files, as LoamSides writes them */
  async start(mesh: string, ca: { readonly cert: string; readonly key: string }): Promise<void> {
    const { side } = this.#pod;
    const state = join(this.#folder, 'state');
    mkdirSync(state, { recursive: true, mode: 0o700 });
    this.#spawn('controller', [
      ...[process.execPath, siblingModule(import.meta.url, '../../controller/main').pathname],
      ...['--manifests', join(mesh, 'manifests'), '--assignments', join(mesh, 'assignments.json')],
      ...[
        '--tokens',
        join(mesh, 'tokens.json'),
        '--state',
        state,
        '--root-cert',
        ca.cert,
        '--root-key',
        ca.key,
      ],
      ...['--listen', CONTROLLER, '--status', join(this.#folder, 'controller.sock')],
    ]);
    await until('the controller to write its root', () => this.read('state/root-cert.pem') !== '');

    const zds = join(this.#folder, 'zds.sock');
    this.#spawn('zds', [
      'python3',
      join(peersFolder(), 'zds-server.py'),
      zds,
      this.#pod.netns,
      `default/${side}/${side}`,
    ]);

    const tokens = join(this.#folder, 'var/run/secrets/tokens');
    mkdirSync(tokens, { recursive: true });
    writeFileSync(join(tokens, 'istio-token'), readFileSync(join(mesh, `token-${side}`)), { mode: 0o600 });
    const root = join(state, 'root-cert.pem');
    this.#spawn('ztunnel', [HARNESS_ENV.ZTUNNEL, 'proxy', 'ztunnel'], {
      ...{
        XDS_ADDRESS: `https://${CONTROLLER}`,
        XDS_ROOT_CA: root,
        CA_ADDRESS: `https://${CONTROLLER}`,
        CA_ROOT_CA: root,
      },
      ...{
        NODE_NAME: nodeOf(this.#pod),
        CLUSTER_ID: 'Kubernetes',
        PROXY_MODE: 'shared',
        INPOD_UDS: zds,
        // It answers no DNS where it does not know everything, and refuses to start with both.
        ...(this.#onDemand && { XDS_ON_DEMAND: 'true', ISTIO_META_DNS_CAPTURE: 'false' }),
        // A pooled connection is logged when it opens, too; its end may be far away.
        RUST_LOG: 'info,access=debug',
      },
    });
    await until(`the Rust ztunnel ${side} to be ready (log: ${join(this.#folder, 'ztunnel.log')})`, () =>
      this.read('ztunnel.log').includes('ready'),
    );
  }

  /** What a program of this node has written, or the empty string while there is nothing. */
  read(name: string): string {
    try {
      return readFileSync(join(this.#folder, name), 'utf8');
    } catch {
      return '';
    }
  }

  /** The names of the workloads that its ztunnel knows. */
  workloads(): string[] {
    const netns = nodeNetnsOf(this.#pair, this.#pod.side);
    const dump = execFileSync('nsenter', [`--net=${netns}`, '--', 'curl', '-sS', '--max-time', '10', DUMP], {
      encoding: 'utf8',
    });
    return (JSON.parse(dump) as { workloads: { name: string }[] }).workloads.map(({ name }) => name).sort();
  }

  /** What its controller tells of the mesh. */
  async status(): Promise<ControllerStatus> {
    const socketPath = join(this.#folder, 'controller.sock');
    return (await askJson({ socketPath }, '/v1/status')) as ControllerStatus;
  }

  async stop(): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const killer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await gone;
      clearTimeout(killer);
    }
  }

  #spawn(name: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): void {
    const log = openSync(join(this.#folder, `${name}.log`), 'a');
    const netns = nodeNetnsOf(this.#pair, this.#pod.side);
    const child = spawn('nsenter', [`--net=${netns}`, '--', ...command], {
      ...{ cwd: this.#folder, stdio: ['ignore', log, log], env: { ...process.env, ...env } },
    });
    closeSync(log);
    this.#children.push(child);
  }
}
