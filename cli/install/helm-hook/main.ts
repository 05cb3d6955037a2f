/** What the chart's Job runs before `helm uninstall` removes anything: the nodes are cleaned as by `loam uninstall` (decision 0165). */
import { KubeClient } from '../../../lib/kubernetes/client.ts';
import { errorText } from '../../../lib/loam-error.ts';
import { InPodApi } from '../cluster/in-pod-api.ts';
import { uninstallBeforeHelm } from '../uninstall.ts';
import { hookConfig, type HookConfig } from './config.ts';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

let lastSaid = 'nothing was done yet';

function say(line: string): void {
  lastSaid = line;
  console.log(line);
}

/** Its last words are what the Job's pod says in its status. */
function fail(code: number, why: string): never {
  console.error(why);
  process.exit(code);
}

function config(): HookConfig {
  try {
    return hookConfig(process.argv.slice(2), process.env);
  } catch (error) {
    fail(EXIT_USAGE, errorText(error));
  }
}

const { access, deadlineSeconds, ...options } = config();
const client = new KubeClient(access, { userAgent: 'loam-uninstall' });
setTimeout(
  () =>
    fail(
      EXIT_FAILURE,
      `not done after ${deadlineSeconds} s: ${lastSaid}. Mend that and run helm uninstall again, or go on without nodes that are not ` +
        `ready: loam uninstall --namespace ${options.namespace} --abandon-nodes, then helm uninstall --no-hooks`,
    ),
  deadlineSeconds * 1_000,
).unref();
try {
  await uninstallBeforeHelm(new InPodApi(client), { ...options, timeoutMs: deadlineSeconds * 1_000, say });
} catch (error) {
  fail(EXIT_FAILURE, errorText(error));
}
say(
  'nothing of Loam is left but what Helm removes now, and the definitions of kinds, with the objects of their users',
);
client.close();
