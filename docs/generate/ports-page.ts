import { objectsOf } from '../../cli/install/render/objects.ts';
import { valuesOf } from '../../cli/install/values.ts';
import { DEFAULTS as WAYPOINT } from '../../waypoint/config.ts';
import { DEFAULTS as ZTUNNEL } from '../../ztunnel/config.ts';
import { code, pageOf, table } from './markdown.ts';

const MEANING: Readonly<Record<string, string>> = {
  admin: 'admin: `/config_dump`, `/connections` (ztunnel), `/upstreams` (waypoint), `/logging`',
  metrics: '`/metrics`, Prometheus text',
  ready: '`/healthz/ready`, which names each gate that is closed',
  listen: 'HBONE from the nodes’ ztunnels, mutual TLS',
  grpc: 'delta xDS and the certificate service, gRPC over TLS, each caller with its token',
};
const POD = [
  'each pod of the mesh',
  code('15008/tcp'),
  'HBONE from other nodes, steered to ztunnel’s listener by the kernel; the application never sees it',
];
const INTRODUCTION = `A NetworkPolicy between pods of the mesh must admit 15008 over TCP in addition to what the applications use, since that is what crosses the
network. Nothing else of Loam is dialled from pod to pod.`;

interface Workload {
  readonly kind: string;
  readonly metadata?: { readonly name?: string };
  readonly spec?: {
    readonly template?: {
      readonly spec?: {
        readonly containers?: readonly {
          readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
        }[];
      };
    };
  };
}

function ofProgram(program: string, defaults: Readonly<Record<string, string | undefined>>): string[][] {
  return ['listen', 'admin', 'metrics', 'ready']
    .filter((flag) => defaults[flag] !== undefined)
    .map((flag) => [program, code(defaults[flag]), MEANING[flag] ?? '', code(`--${flag}`)]);
}

/** What the workloads of an installation open, by their manifests. */
function ofInstallation(): string[][] {
  const objects = objectsOf({ namespace: 'loam-system', values: valuesOf([]) }) as unknown as Workload[];
  return objects.flatMap(({ kind, metadata, spec }) =>
    (spec?.template?.spec?.containers ?? []).flatMap(({ ports = [] }) =>
      ports.map(({ name = '', containerPort }) => [
        `${kind} ${metadata?.name ?? ''}`,
        code(`${containerPort}/tcp`),
        MEANING[name] ?? name,
      ]),
    ),
  );
}

export function portsPage(): string {
  return pageOf(
    'Ports',
    INTRODUCTION,
    table(['where', 'port', 'what'], [POD]),
    '## Of the programs, unless a flag says otherwise',
    table(
      ['program', 'address', 'what', 'flag'],
      [...ofProgram('ztunnel', ZTUNNEL), ...ofProgram('waypoint', WAYPOINT)],
    ),
    'The controller has no default: where it listens is said by `--listen`, `--metrics` and `--ready`. The agent opens no port, and has unix sockets for ztunnel and for its status.',
    '## Of an installation in a cluster',
    table(['workload', 'port', 'what'], ofInstallation()),
  );
}
