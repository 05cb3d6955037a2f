import { errorText } from '../../lib/loam-error.ts';
import { agentPods, type EnrolledPod } from './agent-status.ts';
import { ask, askJson, type Endpoint } from './http.ts';
import { switchedOff, type OffState } from './off.ts';
import { meshPaths } from './paths.ts';
import { WAYPOINT_READY_PORT, ZTUNNEL_METRICS_PORT, ZTUNNEL_READY_PORT } from './programs.ts';
import { parseRefusals, type Refusals } from './refusals.ts';
import type { SupervisorReport } from './report.ts';

/** The answer of a program's `/healthz/ready`. */
export type Readiness =
  | { readonly ready: true }
  /** `blocking`: the gates that are shut, or why there was no answer. */
  | { readonly ready: false; readonly blocking: readonly string[] };

/** What became of one manifest's object, as the controller tells it. */
export interface ObjectStatus {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly file: string;
  readonly line?: number;
  readonly state: 'accepted' | 'rejected' | 'pending';
  readonly message?: string;
  readonly field?: string;
  /** What the field holds, shortened. */
  readonly value?: string;
  readonly allowed?: string;
  readonly warnings?: readonly string[];
  readonly compiledTo: readonly string[];
  /** As the Gateway API has them, for its kinds. */
  readonly conditions?: readonly {
    readonly type: string;
    readonly status: string;
    readonly message: string;
  }[];
  /** An earlier, good version of it is still in force. */
  readonly lastGood: boolean;
}

/** One thing that is wrong in a file of manifests, or worth a warning. */
export interface ManifestProblem {
  readonly severity: 'error' | 'warning';
  readonly file: string;
  readonly line?: number;
  /** Absent when it cannot be said which object is meant. */
  readonly object?: { readonly kind: string; readonly namespace: string; readonly name: string };
  /** What the document seems to be about then: `Pod "Bad_Name"`. */
  readonly about?: string;
  readonly field?: string;
  readonly value?: string;
  readonly message: string;
  readonly allowed?: string;
}

/** What the controller tells of the waypoint of a Gateway. */
export interface GatewayStatus {
  /** `namespace/name` */
  readonly gateway: string;
  readonly connected: boolean;
  /** The newest generation that all connected instances are known to have. */
  readonly ackedGeneration: number;
  /** Why it refused what it was sent, if it did. */
  readonly nacks: readonly string[];
  /** What it stands before, where the controller tells: `Service shop/payments`. */
  readonly serves?: readonly string[];
}

export interface ControllerStatus {
  readonly generation: number;
  readonly objects: readonly ObjectStatus[];
  readonly files: readonly {
    readonly file: string;
    readonly error?: string;
    readonly problems?: readonly ManifestProblem[];
  }[];
  readonly nodes: readonly {
    readonly node: string;
    readonly connected: boolean;
    /** The newest generation that it is known to have. */
    readonly ackedGeneration?: number;
    /** Why it refused what it was sent, if it did. */
    readonly nacks?: readonly string[];
  }[];
  /** Absent where no waypoint is known. */
  readonly gateways?: readonly GatewayStatus[];
}

/** All that is known of a mesh at one moment, asked of each program itself. */
export interface MeshStatus {
  readonly report: SupervisorReport;
  readonly readiness: {
    readonly controller: Readiness;
    readonly nodes: readonly {
      readonly node: string;
      readonly agent: Readiness;
      readonly ztunnel: Readiness;
    }[];
    /** By instance, `namespace/name-0`. */
    readonly waypoints: Readonly<Record<string, Readiness>>;
  };
  /** By uid; a pod is missing when its node's agent does not know it, or does not answer. */
  readonly enrolled: Readonly<Record<string, EnrolledPod>>;
  readonly controller?: ControllerStatus;
  /** What the rules at the source refused, of the nodes that answer. */
  readonly refusals?: readonly Refusals[];
  /** What `loam off` switched off, as the kernel has it. */
  readonly off: readonly OffState[];
}

/** @throws LocalMeshError when no mesh of that name runs */
export async function supervisorReport(mesh: string, timeoutMs?: number): Promise<SupervisorReport> {
  return (await askJson(
    { socketPath: meshPaths(mesh).controlSocket },
    '/report',
    timeoutMs,
  )) as SupervisorReport;
}

/** Asks everybody. @throws LocalMeshError when no mesh of that name runs */
export async function meshStatus(mesh: string): Promise<MeshStatus> {
  const paths = meshPaths(mesh);
  const report = await supervisorReport(mesh);
  const controllerSocket: Endpoint = { socketPath: paths.controllerStatus };
  const [controller, objects, nodes, waypoints, enrolled, refusals] = await Promise.all([
    readiness(controllerSocket),
    askJson(controllerSocket, '/v1/status').catch(() => undefined) as Promise<ControllerStatus | undefined>,
    Promise.all(
      report.nodes.map(async ({ name, netns }) => ({
        node: name,
        agent: await readiness({ socketPath: paths.agentStatusOf(name) }),
        ztunnel: await readiness({ netns, port: ZTUNNEL_READY_PORT }),
      })),
    ),
    Promise.all(
      report.waypoints.flatMap(({ namespace, instances }) =>
        instances.map(
          async ({ name, netns }) =>
            [`${namespace}/${name}`, await readiness({ netns, port: WAYPOINT_READY_PORT })] as const,
        ),
      ),
    ),
    Promise.all(report.nodes.map(({ name }) => agentPods(paths.agentStatusOf(name)).catch(() => []))),
    Promise.all(report.nodes.map(({ name, netns }) => refusalsOf(name, netns).catch(() => []))),
  ]);
  return {
    report,
    readiness: { controller, nodes, waypoints: Object.fromEntries(waypoints) },
    enrolled: Object.fromEntries(enrolled.flat().map((pod) => [pod.uid, pod])),
    refusals: refusals.flat(),
    ...(objects === undefined ? {} : { controller: objects }),
    off: switchedOff(mesh),
  };
}

async function refusalsOf(node: string, netns: string): Promise<Refusals[]> {
  return parseRefusals(node, (await ask({ netns, port: ZTUNNEL_METRICS_PORT }, '/metrics')).body);
}

async function readiness(endpoint: Endpoint): Promise<Readiness> {
  try {
    const { status, body } = await ask(endpoint, '/healthz/ready');
    return status === 200 ? { ready: true } : { ready: false, blocking: shutGates(body) };
  } catch (error) {
    return { ready: false, blocking: [errorText(error)] };
  }
}

/** The names of the gates that are not open, with their reasons; the body itself when it has no gates. */
export function shutGates(body: string): string[] {
  try {
    const { gates } = JSON.parse(body) as { gates?: { name: string; ready: boolean; reason?: string }[] };
    if (!Array.isArray(gates)) return [body.trim()];
    return gates
      .filter((gate) => !gate.ready)
      .map(({ name, reason }) => (reason ? `${name}: ${reason}` : name));
  } catch {
    return [body.trim().slice(0, 200)];
  }
}
