import { isIP } from 'node:net';
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { ListenAddress } from '../lib/admin/listen-address.ts';
import { accountAccess, inClusterAccess, type KubeAccess } from '../lib/kubernetes/access.ts';
import { errorText } from '../lib/loam-error.ts';
import { type FlagValues, readFlags, wrong } from './config-flags.ts';
import {
  directory,
  formatted,
  listenAddress,
  matching,
  oneOf,
  seconds,
  socketPath,
} from './config-values.ts';

export { usage } from './config-flags.ts';

/** Everything from files of one machine. */
export interface LocalConfig {
  readonly kind: 'local';
  readonly manifests: string;
  readonly assignments: string;
  readonly state: string;
  readonly tokens: string;
  readonly given?: { readonly certFile: string; readonly keyFile: string };
}

/** Everything from a Kubernetes API server. */
export interface KubernetesConfig {
  readonly kind: 'kubernetes';
  readonly access: KubeAccess;
  /** Where Loam runs. */
  readonly namespace: string;
  readonly tokenAudience: string;
  /** Service account of the nodes' ztunnels, in `namespace`. */
  readonly ztunnelAccount: string;
  /** The Secret of the certificate authority. */
  readonly caSecret: string;
  readonly waypointImage?: string;
  /** What this replica is called in the Lease: no two have the same. */
  readonly replica: string;
}

/** Everything from a copy of what an API server has: for whoever asks what a change would do (decision 0158). */
export interface CopyConfig {
  readonly kind: 'copy';
  readonly objects: string;
  readonly state: string;
  readonly tokens: string;
}

export interface Config {
  readonly platform: LocalConfig | KubernetesConfig | CopyConfig;
  readonly status: string;
  readonly listen: ListenAddress;
  /** Of loopback: whoever reaches it may do what the owner of the socket may. */
  readonly admin?: ListenAddress;
  readonly ready?: ListenAddress;
  readonly metrics?: ListenAddress;
  /** DNS names by which clients come; at least one. */
  readonly servingNames: readonly string[];
  readonly trustDomain: string;
  readonly clusterId: string;
  readonly rootNamespace: string;
  readonly certTtlMaxS: number;
  /** In place of those of /etc/resolv.conf, for the names of ServiceEntries. */
  readonly dnsServers?: readonly string[];
  readonly logLevel: string;
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'];
const API_URL = /^https:\/\/[^/\s@?#]+$/;

/**
 * Reads flags, then the environment, then defaults.
 *
 * @throws ControllerError CONFIG naming flag, value and what is allowed
 */
export function readConfig(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Config {
  const flags = readFlags(args, env);
  const { get, need } = flags;
  const platform =
    get('manifests') !== undefined
      ? local(flags)
      : get('objects') !== undefined
        ? copy(flags)
        : kubernetes(flags, env);
  const rootNamespace = get('root-namespace') ?? need('namespace');
  const listenAt = (name: 'admin' | 'ready' | 'metrics'): Partial<Record<typeof name, ListenAddress>> => {
    const value = get(name);
    return value === undefined ? {} : { [name]: listenAddress(name, value) };
  };
  return {
    platform,
    status: socketPath('status', need('status')),
    listen: listenAddress('listen', need('listen')),
    ...loopbackOnly(listenAt('admin')),
    ...listenAt('ready'),
    ...listenAt('metrics'),
    servingNames: need('serving-names')
      .split(',')
      .map((name) => formatted('serving-names', name, 'subdomain')),
    trustDomain: formatted('trust-domain', need('trust-domain'), 'subdomain'),
    clusterId: matching(
      'cluster-id',
      need('cluster-id'),
      /^[A-Za-z0-9._-]{1,63}$/,
      'letters, digits, ".", "_", "-", at most 63',
    ),
    rootNamespace: formatted('root-namespace', rootNamespace, 'dns-label'),
    certTtlMaxS: seconds('cert-ttl-max-s', need('cert-ttl-max-s')),
    ...dnsServers(get('dns-servers')),
    logLevel: oneOf('log-level', need('log-level'), LOG_LEVELS),
  };
}

function loopbackOnly(given: { readonly admin?: ListenAddress }): { readonly admin?: ListenAddress } {
  const { admin } = given;
  if (admin !== undefined && admin.host !== '127.0.0.1' && admin.host !== '::1')
    throw wrong('admin', `${admin.host}:${admin.port}`, '127.0.0.1:PORT or [::1]:PORT');
  return given;
}

/** As node:dns takes them. */
function dnsServers(value: string | undefined): Pick<Config, 'dnsServers'> {
  if (value === undefined) return {};
  const servers = value.split(',').map((server) => {
    const host =
      /^\[(.+)\](?::\d{1,5})?$/.exec(server)?.[1] ??
      (isIP(server) === 0 ? server.replace(/:\d{1,5}$/, '') : server);
    if (isIP(host) === 0)
      throw wrong('dns-servers', server, 'IPV4, IPV4:PORT, IPV6 or [IPV6]:PORT, separated by commas');
    return server;
  });
  return { dnsServers: servers };
}

function local({ get, need }: FlagValues): LocalConfig {
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
    kind: 'local',
    manifests: directory('manifests', need('manifests')),
    assignments: resolve(need('assignments')),
    state: resolve(need('state')),
    tokens: resolve(need('tokens')),
    ...(rootCert !== undefined &&
      rootKey !== undefined && { given: { certFile: rootCert, keyFile: rootKey } }),
  };
}

function copy({ need }: FlagValues): CopyConfig {
  return {
    kind: 'copy',
    objects: resolve(need('objects')),
    state: resolve(need('state')),
    tokens: resolve(need('tokens')),
  };
}

function kubernetes({ get, need }: FlagValues, env: NodeJS.ProcessEnv): KubernetesConfig {
  const image = get('waypoint-image');
  return {
    kind: 'kubernetes',
    access: kubeAccess(get('kubernetes-api'), resolve(need('kubernetes-account')), env),
    namespace: formatted('namespace', need('namespace'), 'dns-label'),
    tokenAudience: need('token-audience'),
    ztunnelAccount: formatted('ztunnel-account', need('ztunnel-account'), 'subdomain'),
    caSecret: formatted('ca-secret', need('ca-secret'), 'subdomain'),
    ...(image !== undefined && {
      waypointImage: matching('waypoint-image', image, /^[^\s]{1,512}$/, 'the name of an image'),
    }),
    replica: `${hostname()}_${randomUUID()}`,
  };
}

function kubeAccess(server: string | undefined, account: string, env: NodeJS.ProcessEnv): KubeAccess {
  if (server !== undefined)
    return accountAccess(
      matching('kubernetes-api', server.replace(/\/$/, ''), API_URL, 'https://HOST:PORT'),
      account,
    );
  try {
    return inClusterAccess(env, account);
  } catch (error) {
    const allowed = `https://HOST:PORT, or --manifests in its place (${errorText(error)})`;
    throw wrong('kubernetes-api', undefined, allowed);
  }
}
