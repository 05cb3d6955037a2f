import { statSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ControllerError } from './errors.ts';
import { FORMATS } from './schema/formats.ts';

export interface Config {
  readonly manifests: string;
  readonly assignments: string;
  readonly state: string;
  readonly tokens: string;
  readonly status: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly trustDomain: string;
  readonly clusterId: string;
  readonly rootNamespace: string;
  readonly certTtlMaxS: number;
  readonly given?: { readonly certFile: string; readonly keyFile: string };
  readonly logLevel: string;
}

interface Flag {
  readonly name: string;
  readonly value: string;
  readonly help: string;
  readonly default?: string;
  readonly optional?: true;
}

const FLAGS = [
  { name: 'manifests', value: 'DIR', help: 'directory of Kubernetes manifests, watched' },
  {
    name: 'assignments',
    value: 'FILE',
    help: "pods' addresses and nodes, Services' addresses (JSON), watched",
  },
  {
    name: 'state',
    value: 'DIR',
    help: 'directory of its own, made with mode 0700: root key, last good state',
  },
  { name: 'tokens', value: 'FILE', help: "nodes' bearer tokens (JSON), watched" },
  { name: 'listen', value: 'IP:PORT', help: 'where xDS and the certificate service listen (one TLS port)' },
  { name: 'status', value: 'PATH', help: 'unix socket of the status API' },
  { name: 'trust-domain', value: 'NAME', help: 'SPIFFE trust domain', default: 'cluster.local' },
  { name: 'cluster-id', value: 'NAME', help: 'first part of workload uids', default: 'Kubernetes' },
  {
    name: 'root-namespace',
    value: 'NAME',
    help: 'policies here cover the whole mesh',
    default: 'loam-system',
  },
  {
    name: 'cert-ttl-max-s',
    value: 'SECONDS',
    help: 'longest life of a workload certificate',
    default: '86400',
  },
  {
    name: 'root-cert',
    value: 'FILE',
    help: 'given authority: certificates in PEM, issuing one first, root last',
    optional: true,
  },
  {
    name: 'root-key',
    value: 'FILE',
    help: "key of the given authority's first certificate, PEM",
    optional: true,
  },
  { name: 'log-level', value: 'LEVEL', help: 'fatal, error, warn, info, debug, trace', default: 'info' },
] as const satisfies readonly Flag[];
type FlagName = (typeof FLAGS)[number]['name'];

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'];
const MIN_TTL_S = 60;
const MAX_TTL_S = 365 * 24 * 3600;
const MAX_SOCKET_PATH = 107;
const PORT_MAX = 65535;

/** The text that `--help` prints. */
export function usage(): string {
  const lines = FLAGS.map((flag: Flag) => {
    const note =
      flag.default !== undefined ? ` [${flag.default}]` : flag.optional === true ? ' (optional)' : '';
    return `  --${`${flag.name} ${flag.value}`.padEnd(26)}${flag.help}${note}`;
  });
  return [
    'usage: controller FLAGS',
    '',
    ...lines,
    '',
    'Each flag can be given as LOAM_<NAME> in the environment.',
  ].join('\n');
}

/**
 * Reads flags, then the environment, then defaults.
 *
 * @throws ControllerError CONFIG naming flag, value and what is allowed
 */
export function readConfig(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Config {
  const given = parse(args);
  const get = (name: FlagName): string | undefined => {
    const flag: Flag | undefined = FLAGS.find((each) => each.name === name);
    return given[name] ?? env[envName(name)] ?? flag?.default;
  };
  const need = (name: FlagName): string => {
    const value = get(name);
    if (value === undefined || value === '') throw wrong(name, value, 'a value; it is required');
    return value;
  };
  const rootCert = get('root-cert');
  const rootKey = get('root-key');
  if ((rootCert === undefined) !== (rootKey === undefined)) {
    throw wrong(
      rootCert === undefined ? 'root-cert' : 'root-key',
      undefined,
      'both root-cert and root-key, or neither',
    );
  }
  return {
    manifests: directory('manifests', need('manifests')),
    assignments: resolve(need('assignments')),
    state: resolve(need('state')),
    tokens: resolve(need('tokens')),
    status: socketPath('status', need('status')),
    listen: listenAddress('listen', need('listen')),
    trustDomain: formatted('trust-domain', need('trust-domain'), 'subdomain'),
    clusterId: matching(
      'cluster-id',
      need('cluster-id'),
      /^[A-Za-z0-9._-]{1,63}$/,
      'letters, digits, ".", "_", "-", at most 63',
    ),
    rootNamespace: formatted('root-namespace', need('root-namespace'), 'dns-label'),
    certTtlMaxS: seconds('cert-ttl-max-s', need('cert-ttl-max-s')),
    logLevel: oneOf('log-level', need('log-level'), LOG_LEVELS),
    ...(rootCert === undefined || rootKey === undefined
      ? {}
      : { given: { certFile: rootCert, keyFile: rootKey } }),
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

function wrong(name: FlagName, value: string | undefined, allowed: string): ControllerError {
  const found = value === undefined ? 'is missing' : `= ${JSON.stringify(value)} is not allowed`;
  return new ControllerError('CONFIG', `--${name} (${envName(name)}) ${found}; allowed: ${allowed}`);
}

function directory(name: FlagName, value: string): string {
  if (statSync(value, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw wrong(name, value, 'a directory that exists');
  return resolve(value);
}

function socketPath(name: FlagName, value: string): string {
  const path = resolve(value);
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH)
    throw wrong(name, value, `a path of at most ${MAX_SOCKET_PATH} bytes`);
  return path;
}

function listenAddress(name: FlagName, value: string): Config['listen'] {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(value);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3] ?? NaN);
  if (isIP(host) === 0 || !(port <= PORT_MAX))
    throw wrong(name, value, 'IP:PORT, for example 198.18.0.1:15012 or [::1]:15012');
  return { host, port };
}

function formatted(name: FlagName, value: string, format: string): string {
  const known = FORMATS.find((each) => each.name === format);
  if (known?.check(value) !== true) throw wrong(name, value, known?.allowed ?? format);
  return value;
}

function matching(name: FlagName, value: string, pattern: RegExp, allowed: string): string {
  if (!pattern.test(value)) throw wrong(name, value, allowed);
  return value;
}

function seconds(name: FlagName, value: string): number {
  const number = /^[0-9]{1,10}$/.test(value) ? Number(value) : NaN;
  if (!(number >= MIN_TTL_S && number <= MAX_TTL_S))
    throw wrong(name, value, `whole seconds from ${MIN_TTL_S} to ${MAX_TTL_S}`);
  return number;
}

function oneOf(name: FlagName, value: string, allowed: readonly string[]): string {
  if (!allowed.includes(value)) throw wrong(name, value, allowed.join(', '));
  return value;
}
