/** The numbers of Istio's enums (ambient-facts C8) and the words that the model uses for them. */
import type {
  AppProtocol,
  BalancingMode,
  RoutingScope,
  ServiceFamilies,
  TunnelProtocol,
  WorkloadKind,
} from './model.ts';

type Names<T extends string> = Readonly<Record<number, T>>;

export const TUNNEL_PROTOCOLS: Names<TunnelProtocol> = { 0: 'none', 1: 'hbone', 2: 'legacy-istio-mtls' };
export const APP_PROTOCOLS: Names<AppProtocol> = {
  0: 'unknown',
  1: 'http11',
  2: 'http2',
  3: 'grpc',
  4: 'tcp',
  5: 'tls',
};
export const SERVICE_FAMILIES: Names<ServiceFamilies> = { 0: 'automatic', 1: 'ipv4', 2: 'ipv6', 3: 'dual' };
export const WORKLOAD_KINDS: Names<WorkloadKind> = { 0: 'deployment', 1: 'cronjob', 2: 'pod', 3: 'job' };
export const STATUSES: Names<'healthy' | 'unhealthy'> = { 0: 'healthy', 1: 'unhealthy' };
export const NETWORK_MODES: Names<'standard' | 'host-network'> = { 0: 'standard', 1: 'host-network' };
export const APP_TUNNEL_PROTOCOLS: Names<'none' | 'proxy'> = { 0: 'none', 1: 'proxy' };
export const ROUTING_SCOPES: Names<RoutingScope> = {
  1: 'region',
  2: 'zone',
  3: 'subzone',
  4: 'node',
  5: 'cluster',
  6: 'network',
};
export const BALANCING_MODES: Names<BalancingMode> = {
  0: 'unspecified',
  1: 'strict',
  2: 'failover',
  3: 'passthrough',
};
export const HEALTH_POLICIES: Names<'only-healthy' | 'allow-all'> = { 0: 'only-healthy', 1: 'allow-all' };
export const VISIBILITIES: Names<'public' | 'namespace'> = { 0: 'public', 1: 'namespace' };
export const POLICY_SCOPES: Names<'global' | 'namespace' | 'workload'> = {
  0: 'global',
  1: 'namespace',
  2: 'workload',
};
export const POLICY_ACTIONS: Names<'allow' | 'deny'> = { 0: 'allow', 1: 'deny' };
