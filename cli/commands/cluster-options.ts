/** What all commands for a cluster take. */
import type { Command } from 'commander';
import type { ClusterChoice } from '../install/cluster/api.ts';
import { InstallError } from '../install/errors.ts';

/** Where Loam runs, unless it is said otherwise. */
export const DEFAULT_SYSTEM_NAMESPACE = 'loam-system';
const NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export interface ClusterOptions extends ClusterChoice {
  readonly namespace: string;
}

/** Adds what says which cluster, and which installation in it. */
export function onCluster(command: Command): Command {
  return command
    .option('-n, --namespace <name>', 'namespace of the installation', DEFAULT_SYSTEM_NAMESPACE)
    .option('--kubeconfig <file>', 'which cluster, and as whom; by default KUBECONFIG or ~/.kube/config')
    .option('--context <name>', 'context of the kubeconfig');
}

/** @throws InstallError INSTALL_INPUT */
export function namespaceOfFlags({ namespace }: ClusterOptions): string {
  if (NAMESPACE.test(namespace)) return namespace;
  throw new InstallError(
    'INSTALL_INPUT',
    `--namespace ${JSON.stringify(namespace)} is not usable; allowed: 1 to 63 of a-z, 0-9 and -`,
  );
}

/** In ms. @throws InstallError INSTALL_INPUT */
export function timeoutOf({ timeout }: { readonly timeout: string }): number {
  const seconds = Number(timeout);
  if (Number.isFinite(seconds) && seconds > 0) return seconds * 1000;
  throw new InstallError(
    'INSTALL_INPUT',
    `--timeout ${JSON.stringify(timeout)} is not a number of seconds above 0`,
  );
}
