import { parseArgs } from 'node:util';
import { ControllerError } from './errors.ts';

/** Where objects come from: a directory of manifests, an API server, or a copy of what one has. */
export type Mode = 'directory' | 'kubernetes' | 'copy';

export interface Flag {
  readonly name: string;
  readonly value: string;
  readonly help: string;
  readonly default?: string;
  /** Where it counts; absent: always. */
  readonly modes?: readonly Mode[];
  readonly optional?: true;
}

/** Which flags there are; docs/reference/flags.md is made of them. */
export const FLAGS = [
  {
    name: 'manifests',
    value: 'DIR',
    help: 'directory of Kubernetes manifests, watched; without it, and without --objects, objects come from Kubernetes',
    modes: ['directory'],
    optional: true,
  },
  {
    name: 'objects',
    value: 'FILE',
    help: "copy of a cluster's objects in place of its API server, a List in JSON, read once",
    modes: ['copy'],
    optional: true,
  },
  {
    name: 'assignments',
    value: 'FILE',
    help: "pods' addresses and nodes, Services' addresses (JSON), watched",
    modes: ['directory'],
  },
  {
    name: 'state',
    value: 'DIR',
    help: 'directory of its own, made with mode 0700: root key, last good state',
    modes: ['directory', 'copy'],
  },
  {
    name: 'tokens',
    value: 'FILE',
    help: "nodes' bearer tokens (JSON), watched",
    modes: ['directory', 'copy'],
  },
  {
    name: 'root-cert',
    value: 'FILE',
    help: 'given authority: certificates in PEM, issuing one first, root last',
    modes: ['directory'],
    optional: true,
  },
  {
    name: 'root-key',
    value: 'FILE',
    help: "key of the given authority's first certificate, PEM",
    modes: ['directory'],
    optional: true,
  },
  {
    name: 'kubernetes-api',
    value: 'URL',
    help: 'the API server; default: KUBERNETES_SERVICE_HOST and _PORT',
    modes: ['kubernetes'],
    optional: true,
  },
  {
    name: 'kubernetes-account',
    value: 'DIR',
    help: 'the program\'s own service account: files "token" and "ca.crt"',
    modes: ['kubernetes'],
    default: '/var/run/secrets/kubernetes.io/serviceaccount',
  },
  {
    name: 'namespace',
    value: 'NAME',
    help: 'where Loam runs: its Secrets, its Lease, its ztunnels',
    modes: ['kubernetes'],
    default: 'loam-system',
  },
  {
    name: 'token-audience',
    value: 'NAME',
    help: 'what the tokens of ztunnels and waypoints must be for',
    modes: ['kubernetes'],
    default: 'loam',
  },
  {
    name: 'ztunnel-account',
    value: 'NAME',
    help: "service account of the nodes' ztunnels",
    modes: ['kubernetes'],
    default: 'loam-ztunnel',
  },
  {
    name: 'ca-secret',
    value: 'NAME',
    help: 'Secret of the certificate authority; one of another name than the default is never made, but waited for',
    modes: ['kubernetes'],
    default: 'loam-ca',
  },
  {
    name: 'waypoint-image',
    value: 'IMAGE',
    help: 'image of waypoints; without it none are made for Gateways',
    modes: ['kubernetes'],
    optional: true,
  },
  {
    name: 'serving-names',
    value: 'NAME,...',
    help: 'DNS names by which clients come, the first one for waypoints',
    default: 'loam-controller.loam-system.svc',
  },
  { name: 'listen', value: 'IP:PORT', help: 'where xDS and the certificate service listen (one TLS port)' },
  { name: 'status', value: 'PATH', help: 'unix socket of the status API' },
  {
    name: 'admin',
    value: 'IP:PORT',
    help: 'loopback address where the status API is served as well, for who may forward ports to this pod',
    optional: true,
  },
  { name: 'ready', value: 'IP:PORT', help: 'where /healthz/ready is served', optional: true },
  { name: 'metrics', value: 'IP:PORT', help: 'where /metrics is served', optional: true },
  { name: 'trust-domain', value: 'NAME', help: 'SPIFFE trust domain', default: 'cluster.local' },
  { name: 'cluster-id', value: 'NAME', help: 'first part of workload uids', default: 'Kubernetes' },
  {
    name: 'root-namespace',
    value: 'NAME',
    help: 'policies here cover the whole mesh; default: --namespace',
    optional: true,
  },
  {
    name: 'cert-ttl-max-s',
    value: 'SECONDS',
    help: 'longest life of a workload certificate',
    default: '86400',
  },
  {
    name: 'dns-servers',
    value: 'IP[:PORT],...',
    help: "who is asked for the names of ServiceEntries, in place of /etc/resolv.conf's",
    optional: true,
  },
  { name: 'log-level', value: 'LEVEL', help: 'fatal, error, warn, info, debug, trace', default: 'info' },
] as const satisfies readonly Flag[];
export type FlagName = (typeof FLAGS)[number]['name'];

/** The text that `--help` prints. */
export function usage(): string {
  const line = (flag: Flag): string => {
    const note =
      flag.default !== undefined ? ` [${flag.default}]` : flag.optional === true ? ' (optional)' : '';
    return `  --${`${flag.name} ${flag.value}`.padEnd(26)}${flag.help}${note}`;
  };
  const of = (mode: Mode | undefined): string[] =>
    FLAGS.filter((flag: Flag) => {
      const isOf = mode === undefined ? flag.modes === undefined : flag.modes?.includes(mode);
      return isOf === true && !isSource(flag);
    }).map(line);
  return [
    'usage: controller FLAGS',
    '',
    ...FLAGS.filter(isSource).map(line),
    ...of(undefined),
    '',
    'with --manifests:',
    ...of('directory'),
    '',
    'with --objects:',
    ...of('copy'),
    '',
    'in Kubernetes:',
    ...of('kubernetes'),
    '',
    'Each flag can be given as LOAM_<NAME> in the environment.',
  ].join('\n');
}

/** Whether a flag says where objects come from. */
export function isSource({ name }: Flag): boolean {
  return name === 'manifests' || name === 'objects';
}

const WITH: Readonly<Record<Mode, string>> = {
  directory: 'with --manifests',
  copy: 'with --objects',
  kubernetes: 'without --manifests',
};

/** Values by flag: of the arguments, else of the environment, else the default. */
export interface FlagValues {
  readonly get: (name: FlagName) => string | undefined;
  /** @throws ControllerError CONFIG when it has no value */
  readonly need: (name: FlagName) => string;
}

/**
 * Reads flags, then the environment, then defaults.
 *
 * @throws ControllerError CONFIG for an unknown flag, or one of the other mode
 */
export function readFlags(args: readonly string[], env: Readonly<NodeJS.ProcessEnv>): FlagValues {
  const given = parse(args);
  const own = (name: FlagName): string | undefined => given[name] ?? env[envName(name)];
  const mode: Mode =
    own('manifests') !== undefined ? 'directory' : own('objects') !== undefined ? 'copy' : 'kubernetes';
  for (const flag of FLAGS as readonly (Flag & { readonly name: FlagName })[]) {
    const isForeign = flag.modes !== undefined && !flag.modes.includes(mode);
    if (isForeign && own(flag.name) !== undefined)
      throw wrong(flag.name, own(flag.name), `nothing ${WITH[mode]}`);
  }
  const get = (name: FlagName): string | undefined => {
    const flag: Flag | undefined = FLAGS.find((each) => each.name === name);
    return own(name) ?? flag?.default;
  };
  return {
    get,
    need: (name) => {
      const value = get(name);
      if (value === undefined || value === '') throw wrong(name, value, 'a value; it is required');
      return value;
    },
  };
}

function envName(name: string): string {
  return `LOAM_${name.replaceAll('-', '_').toUpperCase()}`;
}

function parse(args: readonly string[]): Partial<Record<string, string>> {
  const options = Object.fromEntries(FLAGS.map(({ name }) => [name, { type: 'string' as const }]));
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new ControllerError(
      'CONFIG',
      `${(error as Error).message.split('. ')[0] ?? ''}; allowed: ${FLAGS.map(({ name }) => `--${name}`).join(' ')}`,
    );
  }
}

/** An error that names flag, value and what is allowed. */
export function wrong(name: FlagName, value: string | undefined, allowed: string): ControllerError {
  const found = value === undefined ? 'is missing' : `= ${JSON.stringify(value)} is not allowed`;
  return new ControllerError('CONFIG', `--${name} (${envName(name)}) ${found}; allowed: ${allowed}`);
}
