/** The one place of the agent that reads flags and environment. */
import { parseArgs } from 'node:util';
import { accountAccess, inClusterAccess, type KubeAccess } from '../lib/kubernetes/access.ts';
import { errorText } from '../lib/loam-error.ts';
import type { CniFolders } from './kubernetes/cni/files.ts';
import type { CniMode } from './kubernetes/cni/plugin-keeper.ts';
import { parseGrace } from './earlier-connections.ts';

export interface AgentConfig {
  /** Names the BPF programs, maps and pins of this agent, beside other agents on the same machine. */
  readonly instance: string;
  readonly node: string;
  /** File with the node's pods; watched. Undefined: they come from the Kubernetes API. */
  readonly pods: string | undefined;
  /** Undefined where `pods` is given. */
  readonly kubernetes: KubeAccess | undefined;
  /** Path of the container runtime's NRI socket; of use with the Kubernetes API alone. */
  readonly nri: string;
  /** Where the CNI plugin is kept for runtimes without NRI; undefined: nowhere. */
  readonly cni: CniSettings | undefined;
  /** File name of the program that is the node's kubelet (`k3s` in k3s); of use with the Kubernetes API alone. */
  readonly kubelet: string;
  /** Path of the unix SEQPACKET socket for the node proxy. */
  readonly zds: string;
  /** Path of the unix socket for status by HTTP. */
  readonly status: string;
  /** cgroup v2 folder to attach at; the topmost that is visible unless given. */
  readonly cgroup: string | undefined;
  /** Where the BPF file system is mounted. */
  readonly bpffs: string | undefined;
  /** How guards are attached; what the kernel has, unless given. */
  readonly guard: 'tcx' | 'clsact' | undefined;
  /** How long connections from before a pod's enrolment may go on, in ms; Infinity: as long as they like. */
  readonly enrolGraceMs: number;
  readonly logLevel: string;
  /** Remove everything of the instance and exit. */
  readonly cleanup: boolean;
  /** How far: to be asked of all nodes, one step after the other, so that no call between nodes fails (decision 0129). */
  readonly cleanupStep: CleanupStep;
}

const CLEANUP_STEPS = ['takes-plaintext', 'plain', 'remove'] as const;
/** Pods take plaintext; what they dial goes plain too; everything is removed. */
export type CleanupStep = (typeof CLEANUP_STEPS)[number];

/** How new pods are held by way of the host's network plugins. */
export interface CniSettings {
  readonly mode: CniMode;
  readonly folders: CniFolders;
  /** Namespaces whose pods pass while there is no agent. */
  readonly exempt: readonly string[];
}

/** One line that names the setting, its value and what is allowed; ends the program with exit code 2. */
export class ConfigError extends Error {}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'];

const ABSOLUTE = { pattern: /^\/[^\0]*$/, allowed: 'an absolute path' };
/** Which flags there are, and what each admits; docs/reference/flags.md is made of them. */
export const FLAGS = {
  instance: { pattern: /^[a-z0-9-]{1,32}$/, allowed: '1 to 32 of a-z, 0-9 and -' },
  node: {
    pattern: /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/,
    allowed: 'a DNS name of at most 253 characters',
  },
  pods: { pattern: /^[^\0]+$/, allowed: 'the path of a file, or not given for the Kubernetes API' },
  'kubernetes-api': { pattern: /^https:\/\/[^/\s@]+:\d{1,5}\/?$/, allowed: 'https://HOST:PORT' },
  'kubernetes-account': ABSOLUTE,
  kubelet: { pattern: /^[^/\s\0]{1,100}$/, allowed: 'the name of a program' },
  nri: { pattern: /^\/[^\0]{1,106}$/, allowed: 'an absolute path of at most 107 bytes' },
  cni: { pattern: /^(auto|always|never)$/, allowed: 'auto, always, never' },
  'cni-conf': ABSOLUTE,
  'cni-bin': ABSOLUTE,
  'cni-exempt': { pattern: /^[a-z0-9,-]*$/, allowed: 'names of namespaces with commas between' },
  zds: { pattern: /^[^\0]{1,107}$/, allowed: 'a path of at most 107 bytes' },
  status: { pattern: /^[^\0]{1,107}$/, allowed: 'a path of at most 107 bytes' },
  cgroup: ABSOLUTE,
  bpffs: ABSOLUTE,
  guard: { pattern: /^(tcx|clsact)$/, allowed: 'tcx, clsact' },
  'enrol-grace': { pattern: /^(\d{1,6}[smh]|never)$/, allowed: 'never, or a number with s, m or h' },
  'cleanup-step': {
    pattern: new RegExp(`^(${CLEANUP_STEPS.join('|')})$`),
    allowed: CLEANUP_STEPS.join(', '),
  },
  'log-level': { pattern: new RegExp(`^(${LOG_LEVELS.join('|')})$`), allowed: LOG_LEVELS.join(', ') },
} as const;

type Flag = keyof typeof FLAGS;

export const DEFAULTS = {
  'kubernetes-account': '/var/run/secrets/kubernetes.io/serviceaccount',
  kubelet: 'kubelet',
  nri: '/var/run/nri/nri.sock',
  cni: 'auto',
  'cni-exempt': 'kube-system',
  'enrol-grace': '10m',
  'cleanup-step': 'remove',
  'log-level': 'info',
} as const satisfies Partial<Record<Flag, string>>;

/**
 * Reads `--flag value`, else the environment's `LOAM_FLAG`.
 *
 * @throws ConfigError for an unknown flag, a missing or a bad value
 */
export function readConfig(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): AgentConfig {
  const flags = parse(args);
  const value = (flag: Flag): string | undefined => {
    const variable = `LOAM_${flag.toUpperCase().replaceAll('-', '_')}`;
    const given = flags[flag];
    const [name, text] = given === undefined ? [variable, env[variable]] : [`--${flag}`, given];
    if (text === undefined || typeof text === 'boolean') return undefined;
    if (FLAGS[flag].pattern.test(text)) return text;
    throw new ConfigError(`${name}: ${JSON.stringify(text)} is not allowed; allowed: ${FLAGS[flag].allowed}`);
  };
  const required = (flag: Flag, use: boolean): string => {
    const text = value(flag);
    if (text !== undefined) return text;
    if (!use) return '';
    throw new ConfigError(`--${flag}: missing; allowed: ${FLAGS[flag].allowed}`);
  };
  const cleanup = flags['cleanup'] === true;
  const pods = value('pods');
  return {
    instance: required('instance', true),
    node: required('node', !cleanup),
    pods,
    kubernetes: pods === undefined && !cleanup ? access(env, value) : undefined,
    kubelet: value('kubelet') ?? DEFAULTS.kubelet,
    cni: cniSettings(value),
    nri: value('nri') ?? DEFAULTS.nri,
    zds: required('zds', !cleanup),
    status: required('status', !cleanup),
    cgroup: value('cgroup'),
    bpffs: value('bpffs'),
    guard: value('guard') as AgentConfig['guard'],
    enrolGraceMs: parseGrace(value('enrol-grace') ?? DEFAULTS['enrol-grace']) ?? 0,
    logLevel: value('log-level') ?? DEFAULTS['log-level'],
    cleanup,
    cleanupStep: (value('cleanup-step') ?? DEFAULTS['cleanup-step']) as CleanupStep,
  };
}

/** Folders are given by whoever has them mounted; without them there is no plugin. */
function cniSettings(value: (flag: Flag) => string | undefined): CniSettings | undefined {
  const [conf, bin] = [value('cni-conf'), value('cni-bin')];
  const mode = (value('cni') ?? DEFAULTS.cni) as CniMode;
  if (conf === undefined && bin === undefined) return undefined;
  if (conf === undefined || bin === undefined)
    throw new ConfigError('--cni-conf and --cni-bin: one is missing; allowed: both, or neither');
  const exempt = (value('cni-exempt') ?? DEFAULTS['cni-exempt']).split(',').filter((name) => name !== '');
  return { mode, folders: { conf, bin }, exempt };
}

/** Where the Kubernetes API is: as the flags say, else as a pod is told. */
function access(
  env: Readonly<Record<string, string | undefined>>,
  value: (flag: Flag) => string | undefined,
): KubeAccess {
  const account = value('kubernetes-account') ?? DEFAULTS['kubernetes-account'];
  const server = value('kubernetes-api');
  if (server !== undefined) return accountAccess(server, account);
  try {
    return inClusterAccess(env, account);
  } catch (error) {
    throw new ConfigError(`--pods or --kubernetes-api: missing: ${errorText(error)}`);
  }
}

function parse(args: readonly string[]): Record<string, string | boolean | undefined> {
  const options = Object.fromEntries(Object.keys(FLAGS).map((flag) => [flag, { type: 'string' as const }]));
  try {
    return parseArgs({ args: [...args], options: { ...options, cleanup: { type: 'boolean' } }, strict: true })
      .values;
  } catch (error) {
    const known = [...Object.keys(FLAGS), 'cleanup'].map((flag) => `--${flag}`).join(' ');
    throw new ConfigError(`${(error as Error).message.split('\n')[0] ?? ''}; allowed: ${known}`);
  }
}
