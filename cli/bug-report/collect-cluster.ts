/** What a bug report of a cluster holds, as far as the user may see it. */
import { stringify } from 'yaml';
import { collectionPath } from '../install/cluster/kinds.ts';
import { clusterStatusLines } from '../look/cluster-status-text.ts';
import type { ClusterReader } from '../mesh/cluster/reader.ts';
import { clusterStatus } from '../mesh/cluster/status.ts';
import { NO_COLOURS } from '../output/colours.ts';
import type { ReportFile } from './archive.ts';
import { choosePods, hasEndedBefore, type ChosenPods } from './chosen-pods.ts';
import { collectCommon, collecting, machine } from './collect.ts';
import { Redactor } from './redact.ts';

/** Of each log, the end. */
const LOG_BYTES = String(1 << 20);
const LOG_LINES = '5000';
/** Those that decide what the mesh does; never Secrets, and no ConfigMap, which may hold anything. */
const KINDS = [
  'v1/Namespace',
  'v1/Service',
  'gateway.networking.k8s.io/v1/Gateway',
  'gateway.networking.k8s.io/v1/HTTPRoute',
  'gateway.networking.k8s.io/v1/GRPCRoute',
  'gateway.networking.k8s.io/v1/GatewayClass',
  'gateway.networking.k8s.io/v1beta1/ReferenceGrant',
  'security.istio.io/v1/AuthorizationPolicy',
  'security.istio.io/v1/PeerAuthentication',
  'security.istio.io/v1/RequestAuthentication',
  'networking.istio.io/v1/ServiceEntry',
  'telemetry.istio.io/v1/Telemetry',
  'loam.dev/v1/EgressPolicy',
  'loam.dev/v1/TrafficPolicy',
  'loam.dev/v1/MeshSettings',
] as const;

interface AnyObject {
  readonly metadata?: object | undefined;
}

/** Everything of a cluster's mesh that helps to understand it, without secrets. What cannot be had says so in its place. */
export async function collectClusterReport(reader: ClusterReader): Promise<ReportFile[]> {
  const redactor = new Redactor([]);
  const { files, add, json } = collecting(redactor);
  await add('machine.json', () => json(machine()));
  const status = clusterStatus(reader);
  await add('status.txt', async () =>
    redactor.text(`${clusterStatusLines(await status, undefined, NO_COLOURS).join('\n')}\n`),
  );
  await add('status.json', async () => json(await status));
  await collectCommon(reader, redactor, { add, json });
  const { chosen, leftOut } = await ownPods(reader);
  for (const pod of chosen) {
    const { namespace = '', name = '' } = pod.metadata ?? {};
    await add(`pods/${namespace}/${name}.yaml`, () => stringify(redactor.manifest(withoutManaged(pod))));
    for (const previous of [false, true]) {
      if (previous && !hasEndedBefore(pod)) continue;
      await add(`log/${namespace}/${name}${previous ? '.previous' : ''}.log`, async () =>
        redactor.text(
          wholeLines(
            await reader.api.text(`${collectionPath('v1/Pod', namespace)}/${name}/log`, {
              tailLines: LOG_LINES,
              limitBytes: LOG_BYTES,
              ...(previous && { previous: 'true' }),
            }),
          ),
        ),
      );
    }
  }
  for (const kind of KINDS)
    await add(`objects/${kind.slice(kind.lastIndexOf('/') + 1)}.yaml`, async () =>
      (await reader.objects.list<AnyObject>(kind))
        .map((object) => stringify(redactor.manifest(withoutManaged(object))))
        .join('---\n'),
    );
  await add('left-out.txt', () => [...reader.missing(), ...leftOut].map((line) => `${line}\n`).join(''));
  return files;
}

/** Pods of the programs of the mesh, waypoints among them. */
async function ownPods({ programs }: ClusterReader): Promise<ChosenPods> {
  try {
    const [controllers, agents, ztunnels, waypoints] = await Promise.all([
      programs.podsOf('controller'),
      programs.podsOf('agent'),
      programs.podsOf('ztunnel'),
      programs.waypointPods(),
    ]);
    return choosePods(controllers, [...agents, ...ztunnels], waypoints);
  } catch {
    return { chosen: [], leftOut: [] }; // The status says why.
  }
}

/** Who last wrote which field, and a copy of the whole as it was applied: long, and of no use in a report. */
function withoutManaged(object: AnyObject): object {
  const {
    managedFields: _,
    annotations,
    ...metadata
  } = (object.metadata ?? {}) as Readonly<Record<string, unknown>>;
  const kept = Object.entries((annotations ?? {}) as Readonly<Record<string, unknown>>).filter(
    ([name]) => name !== 'kubectl.kubernetes.io/last-applied-configuration',
  );
  return {
    ...object,
    metadata: { ...metadata, ...(kept.length > 0 && { annotations: Object.fromEntries(kept) }) },
  };
}

/** A secret that is cut in half is not known any more: a log that was cut at its end loses its last line. */
function wholeLines(text: string): string {
  return text.endsWith('\n') ? text : text.slice(0, text.lastIndexOf('\n') + 1);
}
