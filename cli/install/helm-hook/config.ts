/** The flags of the program that Helm runs before it removes the chart's objects. */
import type { KubeAccess } from '../../../lib/kubernetes/access.ts';
import { inClusterAccess } from '../../../lib/kubernetes/access.ts';
import { FILE, NAME, NUMBER, oneOfWords, readFlags } from '../../../lib/flags.ts';
import type { CniFolders } from '../render/agent.ts';

export interface HookConfig {
  readonly access: KubeAccess;
  readonly namespace: string;
  /** Of the release, for nodes whose agents are gone. */
  readonly image: string;
  readonly cni: CniFolders;
  readonly graceSeconds: number;
  /** When it gives up, so that it can say why before Helm does. */
  readonly deadlineSeconds: number;
  readonly abandonNodes: boolean;
}

const RULES = {
  namespace: NAME,
  image: { pattern: /^[^\s]+$/, allowed: 'a reference of an image' },
  'cni-conf': FILE,
  'cni-bin': FILE,
  'grace-s': NUMBER,
  'deadline-s': NUMBER,
  'abandon-nodes': oneOfWords(['on', 'off']),
};
const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** @throws ConfigError; KubeApiError outside a pod */
export function hookConfig(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): HookConfig {
  const flags = readFlags(RULES, {}, args, {});
  return {
    access: inClusterAccess(env, ACCOUNT),
    namespace: flags.text('namespace'),
    image: flags.text('image'),
    cni: { confFolder: flags.text('cni-conf'), binFolder: flags.text('cni-bin') },
    graceSeconds: flags.number('grace-s', 0),
    deadlineSeconds: flags.number('deadline-s', 1),
    abandonNodes: flags.text('abandon-nodes') === 'on',
  };
}
