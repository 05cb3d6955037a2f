import { Command } from 'commander';
import { findingText } from '../install/check/check.ts';
import type { Finding } from '../install/check/finding.ts';
import { ClusterApi } from '../install/cluster/api.ts';
import { PodExec } from '../install/cluster/exec.ts';
import { InstallError } from '../install/errors.ts';
import { installedIn } from '../install/state.ts';
import { verify } from '../install/verify/verify.ts';
import { print, withOutput, type OutputFlag } from '../output/print.ts';
import { complain, say } from '../output/say.ts';
import { namespaceOfFlags, onCluster, timeoutOf, type ClusterOptions } from './cluster-options.ts';
import { helpText } from './mesh-options.ts';

const DEFAULT_TIMEOUT_S = 60;
/** As a shell reports a process that SIGINT ended. */
const EXIT_INTERRUPTED = 130;

const HELP = `It makes a namespace loam-verify-… with three pods (Loam's own image), two policies and a Service, and removes it at the end, after
Ctrl-C too; what a killed run left is removed by the next one and found by: kubectl get namespaces -l loam.dev/verify

Rights that it needs:
  get, list, patch, create, delete  namespaces
  get, list                         nodes; the installation's pods and ConfigMap loam-installation
  list                              gateways, egresspolicies and meshsettings, to see what is in use
  create, get                       pods/exec and pods/log in the installation's namespace
  get, list, patch, create, delete  in its own namespace: serviceaccounts, services, pods, pods/exec, events,
                                    peerauthentications, authorizationpolicies, egresspolicies, gateways, httproutes`;

interface VerifyFlags extends ClusterOptions, OutputFlag {
  readonly timeout: string;
}

async function verifyAll(options: VerifyFlags): Promise<void> {
  const namespace = namespaceOfFlags(options);
  const timeoutMs = timeoutOf(options);
  const api = await ClusterApi.open(options);
  const installed = await installedIn(api, namespace);
  if (installed === undefined)
    throw new InstallError('INSTALL_STATE', `Loam is not installed in ${namespace}: loam install`);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      if (stop.signal.aborted) return;
      complain('loam: interrupted; removing what was made');
      stop.abort();
    });
  const findings: Finding[] = [];
  const tell = (finding: Finding): void => {
    findings.push(finding);
    if (options.output === 'text') say(findingText(finding));
  };
  const pods = new PodExec(api.config, Math.max(timeoutMs, DEFAULT_TIMEOUT_S * 1000));
  let good = false;
  try {
    good = await verify({ api, pods, installed, timeoutMs, signal: stop.signal, tell });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    process.exitCode = EXIT_INTERRUPTED;
  }
  if (options.output !== 'text')
    await print(options.output, { good, interrupted: stop.signal.aborted, findings }, () => []);
  if (!stop.signal.aborted) process.exitCode = good ? 0 : 1;
}

/** `loam verify`: whether the mesh does what it says, by real traffic. */
export function verifyCommand(): Command {
  return withOutput(onCluster(new Command('verify')))
    .description('send real traffic through every feature of the mesh that is in use, and say what was seen')
    .option('--timeout <seconds>', 'how long to wait for each thing', String(DEFAULT_TIMEOUT_S))
    .addHelpText(
      'after',
      helpText(
        [
          ['loam verify', ''],
          ['loam verify --timeout 180 -o json', 'for scripts, in a slow cluster'],
        ],
        `0 all that is in use works, 1 something does not, 2 what was given is not usable, ${EXIT_INTERRUPTED} interrupted`,
        HELP,
      ),
    )
    .action(verifyAll);
}
