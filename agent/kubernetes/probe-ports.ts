/** At which ports a pod's kubelet dials the pod: for the probes and lifecycle hooks of its containers. */
import { PROBE_PORTS } from '../../lib/linux/bpf/index.ts';
import { isRecord } from '../../lib/kubernetes/resource.ts';

type Json = Readonly<Record<string, unknown>>;

const PROBES = ['startupProbe', 'readinessProbe', 'livenessProbe'] as const;
const HOOKS = ['postStart', 'preStop'] as const;
/** Ways of asking that go over the network. */
const DIALS = ['httpGet', 'tcpSocket', 'grpc'] as const;

/**
 * Of a pod's spec. What names a `host` is left out: its target is not this pod, or not for sure.
 *
 * @returns each port once, ascending; as many as the kernel can be told at most
 */
export function probePorts(spec: Json): readonly number[] {
  const containers = [...records(spec['containers']), ...records(spec['initContainers'])];
  const ports = new Set(containers.flatMap(portsOf));
  return [...ports].sort((a, b) => a - b).slice(0, PROBE_PORTS);
}

function portsOf(container: Json): number[] {
  const lifecycle = record(container['lifecycle']);
  const asks = [...PROBES.map((each) => container[each]), ...HOOKS.map((each) => lifecycle[each])];
  return asks.flatMap((ask) => DIALS.flatMap((way) => portOf(record(ask)[way], container)));
}

function portOf(dial: unknown, container: Json): number[] {
  if (!isRecord(dial)) return [];
  const { host, port } = dial;
  if (host !== undefined && host !== '') return [];
  const named = records(container['ports']).find(({ name }) => name === port)?.['containerPort'];
  // A name that no port has may be a number, as the kubelet reads it.
  const number = Number(typeof port === 'string' ? (named ?? port) : port);
  return Number.isInteger(number) && number > 0 && number <= 0xffff ? [number] : [];
}

function records(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

function record(value: unknown): Json {
  return isRecord(value) ? value : {};
}
