import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import { Client, credentials, Metadata, type ClientOptions } from '@grpc/grpc-js';
import { MeshError } from '../errors.ts';

/** Sent as SNI when the controller is dialled by address, since an address may not stand there (RFC 6066 section 3). */
const SNI_FOR_ADDRESSES = 'loam-controller.loam-system.svc';
/** Above what grpc-go servers enforce in Istio (15 s), below what a user would call a hang. */
const DEFAULT_KEEPALIVE_MS = 20_000;
const DEFAULT_KEEPALIVE_TIMEOUT_MS = 10_000;
/** A first response holds every workload of a cluster; about 300 bytes each. */
const MAX_RECEIVE_BYTES = 256 * 1024 * 1024;

/** How to reach the control plane: TLS verified against a root, a bearer token, both read from files at each use. */
export interface ControlEndpoint {
  /** `https://host:port`. */
  readonly address: string;
  /** PEM of the roots that the server's certificate must chain to. */
  readonly rootFile: string;
  /** The bearer token, alone in a file; rewritten by others when it is renewed. */
  readonly tokenFile: string;
  /** Istio's name of the cluster, sent as metadata. */
  readonly clusterId: string;
  readonly keepaliveMs?: number;
  readonly keepaliveTimeoutMs?: number;
}

/** A connection to the control plane and what each of its calls carries. Close it. */
export interface ControlChannel {
  readonly client: Client;
  readonly metadata: Metadata;
  readonly rootPem: string;
}

/**
 * Makes a new connection (none is shared, so that a dead one is not met again), with the token and root of now.
 *
 * @throws MeshError FILE_UNREADABLE, CONFIG
 */
export async function openControlChannel(endpoint: ControlEndpoint): Promise<ControlChannel> {
  const { host, target } = parseAddress(endpoint.address);
  const rootPem = await readText(endpoint.rootFile, 'root certificates');
  const token = (await readText(endpoint.tokenFile, 'bearer token')).trim();
  const channelCredentials = credentials.createSsl(Buffer.from(rootPem), null, null, {
    checkServerIdentity: (_servername, certificate) => checkServerIdentity(host, certificate),
  });
  const options: ClientOptions = {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': MAX_RECEIVE_BYTES,
    'grpc.keepalive_time_ms': endpoint.keepaliveMs ?? DEFAULT_KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': endpoint.keepaliveTimeoutMs ?? DEFAULT_KEEPALIVE_TIMEOUT_MS,
    'grpc.enable_retries': 0,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_channelz': 0,
    'grpc.service_config_disable_resolution': 1,
    ...(isIP(host) !== 0 && { 'grpc.ssl_target_name_override': SNI_FOR_ADDRESSES }),
  };
  const metadata = new Metadata();
  try {
    metadata.set('authorization', `Bearer ${token}`);
  } catch {
    // The original error would show the token.
    throw new MeshError('FILE_UNREADABLE', `${endpoint.tokenFile}: not a token that fits a header`);
  }
  metadata.set('clusterid', endpoint.clusterId);
  return { client: new Client(target, channelCredentials, options), metadata, rootPem };
}

/**
 * Host and gRPC target of `https://host:port`.
 *
 * @throws MeshError CONFIG
 */
export function parseAddress(address: string): { host: string; target: string } {
  let url: URL;
  try {
    url = new URL(address);
  } catch (error) {
    throw new MeshError('CONFIG', `address ${JSON.stringify(address)} is not https://host:port`, {
      cause: error,
    });
  }
  if (url.protocol !== 'https:' || url.hostname === '') {
    throw new MeshError('CONFIG', `address ${JSON.stringify(address)} is not https://host:port`);
  }
  const bare = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return { host: bare, target: `dns:///${url.hostname}:${url.port || '443'}` };
}

async function readText(file: string, what: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new MeshError('FILE_UNREADABLE', `cannot read the ${what}`, { cause: error });
  }
  if (text.trim() === '') throw new MeshError('FILE_UNREADABLE', `${file}: the ${what} file is empty`);
  return text;
}
