/** The chart in the test cluster, by Helm itself. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { chartFolder } from '../../../cli/install/values.ts';
import { buildGoProgram } from '../../support/go-program.ts';
import type { TestCluster } from './cluster.ts';
import { SYSTEM } from './installation.ts';

/** Builds Helm from its Go module once, and keeps it in the user's cache. */
export function helmProgram(): string {
  return buildGoProgram('helm', 'helm.sh/helm/v3/cmd/helm');
}

export class Helm implements Disposable {
  readonly #cluster: TestCluster;
  readonly #folder = mkdtempSync(join(tmpdir(), 'loam-helm-'));

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }

  /** @returns what it prints, and what its hooks said, which it hands on as errors are @throws with all that it said */
  async run(...args: readonly string[]): Promise<string> {
    const folder = this.#folder;
    const { stdout, stderr } = await promisify(execFile)(helmProgram(), [...args, '--namespace', SYSTEM], {
      env: {
        ...process.env,
        ...{ HELM_CACHE_HOME: folder, HELM_CONFIG_HOME: folder, HELM_DATA_HOME: folder },
        KUBECONFIG: this.#cluster.kubeconfig,
      },
      maxBuffer: 32 << 20,
    });
    return stdout + stderr;
  }

  /** `helm upgrade --install` of the chart. */
  install(...args: readonly string[]): Promise<string> {
    return this.run('upgrade', '--install', 'loam', chartFolder(), '--create-namespace', '--wait', ...args);
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}
