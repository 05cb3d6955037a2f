import { spiffeUri, type Identity } from '../lib/spiffe.ts';
import type { ZtunnelConfig } from './config.ts';
import { IstioCaClient } from '../lib/mesh/identity/ca-client.ts';
import type { CertificateBundle } from '../lib/mesh/identity/certificate-bundle.ts';
import {
  CertificateManager,
  type CertificateStatus,
  type RestoredCertificate,
} from '../lib/mesh/identity/certificate-manager.ts';
import type { AddressDelta, PolicyDelta } from '../lib/mesh/state/model.ts';
import { decodeEgress } from '../lib/mesh/egress/decode.ts';
import type { EgressDelta } from '../lib/mesh/egress/model.ts';
import { readStaticState, StaticCertificates } from './static-source.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../lib/mesh/xds/delta-service.ts';
import { Subscription, type RawDelta, type RawResource } from '../lib/mesh/xds/subscription.ts';
import { XdsClient, type ControlLog, type XdsStatus } from '../lib/mesh/xds/xds-client.ts';

/** What the rest of ztunnel needs of certificates; without access to keys. */
export interface Certificates {
  acquire(identity: Identity): void;
  release(identity: Identity): void;
  /** A connection waits for it. */
  prioritize(identity: Identity): void;
  snapshot(): CertificateStatus[];
  /** What an earlier ztunnel of this node left, with keys; to be called before the first {@link acquire}. */
  restore(certificates: readonly RestoredCertificate[]): void;
  /** Forgets what of it no pod has needed. */
  forgetRestored(): void;
  stop(): void;
}

export interface CertificateEvents {
  onCertificate(bundle: CertificateBundle): void;
  onRemoved(identityUri: string): void;
  onExpiryChange(identityUri: string, notAfterSeconds: number | undefined): void;
}

/** Certificates from the CA, or from a folder, as configured. */
export function startCertificates(
  config: ZtunnelConfig,
  events: CertificateEvents,
  log: ControlLog,
): Certificates {
  const source = config.certificates;
  if (source.from === 'folder') {
    return new StaticCertificates(source.path, (bundle) => events.onCertificate(bundle));
  }
  const manager = new CertificateManager({
    ca: new IstioCaClient({ ...source, clusterId: config.clusterId }),
    rootFile: source.rootFile,
    log,
    ttlSeconds: config.certTtlSeconds,
    onExpiryChange: (identity, seconds) => events.onExpiryChange(identity, seconds),
  });
  manager.onCertificate((bundle) => events.onCertificate(bundle));
  manager.onRemoved((identity) => events.onRemoved(spiffeUri(identity)));
  return manager;
}

/** What the pods of this node may call; Loam's own (proto/loam/egress/v1). */
export const EGRESS_TYPE = 'type.googleapis.com/loam.egress.v1.Resource';

/** Whether this control plane tells what the pods may call; another one than Loam's knows no such type. */
export function followsEgress(config: ZtunnelConfig): boolean {
  return config.state.from === 'xds' && config.egressRules;
}

/** The types without which nothing is in force. */
export function followedTypes(config: ZtunnelConfig): readonly string[] {
  return [ADDRESS_TYPE, AUTHORIZATION_TYPE, ...(followsEgress(config) ? [EGRESS_TYPE] : [])];
}

export interface StateEvents {
  onAddresses(delta: AddressDelta): void;
  onPolicies(delta: PolicyDelta): void;
  onEgress(delta: EgressDelta): void;
  /** The first state of each type was handed on as a whole. */
  onFirstState(): void;
  /** A part of it, as the control plane sent it. */
  onRaw(typeUrl: string, delta: RawDelta): void;
  /** Where not the whole mesh is followed: what was told of these names is in force. */
  onTold(names: readonly string[]): void;
  onDisconnect(): void;
}

/** Whether this node asks for what its pods need, and does not follow the whole mesh. */
export function isOnDemand(config: ZtunnelConfig): boolean {
  return config.state.from === 'xds' && config.onDemand;
}

/** What an earlier ztunnel of this node left. */
export type RestoredTypes = readonly {
  readonly typeUrl: string;
  readonly resources: readonly RawResource[];
}[];

/** Where workloads, services and policies come from, while it runs. */
export interface StateFeed {
  status(): XdsStatus;
  /** Where not the whole mesh is followed: see XdsClient. */
  ask(names: readonly string[]): void;
  forget(names: readonly string[], resources: readonly string[]): void;
  stop(): Promise<void>;
}

/**
 * State from xDS, or once from a file, as configured.
 *
 * @param restored is taken over first; the control plane is then asked for what has changed since
 * @throws MeshError when the file cannot be used
 */
export async function startState(
  config: ZtunnelConfig,
  events: StateEvents,
  log: ControlLog,
  restored: RestoredTypes = [],
): Promise<StateFeed> {
  const source = config.state;
  if (source.from === 'file') {
    const { addresses, policies } = readStaticState(source.path);
    events.onAddresses({ upserts: addresses, removed: [] });
    events.onPolicies({ upserts: policies, removed: [] });
    events.onFirstState();
    const status: XdsStatus = {
      connected: true,
      addressesReady: true,
      policiesReady: true,
      addresses: addresses.length,
      policies: policies.length,
      types: [],
    };
    const nothing = (): void => undefined;
    return { status: () => status, ask: nothing, forget: nothing, stop: () => Promise.resolve() };
  }
  const { node, clusterId, network } = config;
  const client = new XdsClient({
    ...source,
    clusterId,
    node: {
      id: `ztunnel~0.0.0.0~ztunnel-${node}.loam-system~loam-system.svc.${config.trustDomain}`,
      metadata: { NODE_NAME: node, CLUSTER_ID: clusterId, NETWORK: network },
    },
    onAddresses: (delta) => events.onAddresses(delta),
    onPolicies: (delta) => events.onPolicies(delta),
    more: followsEgress(config)
      ? [
          new Subscription({
            typeUrl: EGRESS_TYPE,
            decode: (name, bytes) => ({ value: decodeEgress(name, bytes), errors: [] }),
            apply: (delta) => events.onEgress(delta),
          }),
        ]
      : [],
    onReady: () => {
      events.onFirstState();
      log.info({}, 'xds: first state is in force');
    },
    onRaw: (typeUrl, delta) => events.onRaw(typeUrl, delta),
    ...(isOnDemand(config) && { onTold: (names: readonly string[]) => events.onTold(names) }),
    onDisconnect: () => events.onDisconnect(),
    log,
  });
  for (const { typeUrl, resources } of restored) {
    await client.restore(typeUrl, resources);
    events.onRaw(typeUrl, { upserts: resources, removed: [] });
  }
  client.start();
  return client;
}
