import { assertNever } from '../../lib/assert-never.ts';
import { earlierLines } from '../mesh/earlier.ts';
import { meshPaths } from './paths.ts';
import { objectName, rejection } from './problem-text.ts';
import { problemsOf } from './problems.ts';
import type { ProgramReport } from './report.ts';
import type { GatewayStatus, MeshStatus, ObjectStatus, Readiness } from './status.ts';
import { verdictText, warningsOf } from './warnings.ts';

/** Lays rows out in columns as wide as their longest cell, two blanks between, two before. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd());
}

function readinessText(answer: Readiness): string {
  return answer.ready ? 'ready' : `NOT READY: ${answer.blocking.join('; ')}`;
}

function programRows(status: MeshStatus): string[][] {
  const { report, readiness } = status;
  return report.programs.map((program) => {
    const answer = program.replaced ? undefined : readinessOf(program, readiness);
    return [
      program.instance === undefined ? program.program : `${program.program} ${program.instance}`,
      program.node ?? '-',
      program.state === 'running' ? `pid ${program.pid}` : program.state,
      program.state === 'stopped' ? '' : `${program.restarts} restarts`,
      program.replaced
        ? 'replaced, serves what was open'
        : program.state === 'running' && answer !== undefined
          ? readinessText(answer)
          : '',
    ];
  });
}

function readinessOf(program: ProgramReport, readiness: MeshStatus['readiness']): Readiness | undefined {
  const node = readiness.nodes.find((each) => each.node === program.node);
  switch (program.program) {
    case 'controller':
      return readiness.controller;
    case 'agent':
      return node?.agent;
    case 'ztunnel':
      return node?.ztunnel;
    case 'waypoint':
      return readiness.waypoints[program.instance ?? ''];
    default:
      return assertNever(program.program, 'program');
  }
}

function guardText(unguarded: readonly string[]): string {
  return unguarded.length === 0 ? '' : `, NOT GUARDED: ${unguarded.join(', ')}`;
}

/** Off by itself or with its node: whoever reads `enrolled, verified` must not think that it is protected. */
function offOf(status: MeshStatus, pod: { namespace: string; name: string; node: string }): string {
  const names = [`pod ${pod.namespace}/${pod.name}`, `node ${pod.node}`];
  return status.off.some(({ what }) => names.includes(what)) ? ', SWITCHED OFF (plain networking)' : '';
}

function podRows(status: MeshStatus): string[][] {
  return [...status.report.pods]
    .sort((a, b) => (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1))
    .map((pod) => {
      const kernel = status.enrolled[pod.uid];
      const enrolment = pod.wantsEnrolment
        ? kernel?.verified === true
          ? `enrolled, verified${guardText(kernel.unguarded)}${offOf(status, pod)}`
          : 'claimed, NOT VERIFIED'
        : kernel?.verified === true
          ? 'STILL ENROLLED'
          : 'not in the mesh';
      const phase =
        pod.phase.phase === 'running' ? (pod.ready ? 'ready' : 'NOT READY') : pod.phase.phase.toUpperCase();
      const restarts = pod.containers.reduce(
        (sum, each) => sum + ('restarts' in each ? each.restarts : 0),
        0,
      );
      return [
        `${pod.namespace}/${pod.name}`,
        pod.node,
        pod.ips.join(' '),
        pod.serviceAccount,
        phase,
        enrolment,
        `${restarts} restarts`,
      ];
    });
}

/** What the waypoints serve and whether they have what the controller tells. */
function waypointRows(status: MeshStatus): string[][] {
  const { report, readiness, controller } = status;
  return report.waypoints.map(({ namespace, name, vip, instances }) => {
    const key = `${namespace}/${name}`;
    const ready = instances.filter(
      (each) => readiness.waypoints[`${namespace}/${each.name}`]?.ready === true,
    );
    const told = controller?.gateways?.find((each) => each.gateway === key);
    return [
      key,
      vip,
      instances.map(({ node, ip }) => `${node} ${ip}`).join(', ') || 'runs nowhere',
      ready.length === instances.length
        ? `${ready.length} ready`
        : `${ready.length} of ${instances.length} READY`,
      ...(told === undefined ? [] : [servesText(told), configurationText(told)]),
    ];
  });
}

function servesText({ serves }: GatewayStatus): string {
  if (serves === undefined) return '';
  return serves.length === 0 ? 'serves nothing' : `serves ${serves.join(', ')}`;
}

function configurationText({ connected, ackedGeneration, nacks }: GatewayStatus): string {
  if (nacks.length > 0) return `REFUSES its configuration: ${nacks.join('; ')}`;
  return connected ? `configuration of generation ${ackedGeneration} acknowledged` : 'NOT CONNECTED';
}

function objectText(object: ObjectStatus): string {
  if (object.state === 'rejected') return `REJECTED: ${rejection(object)}`;
  if (object.state === 'pending') return `pending: ${object.message ?? 'waits'}`;
  const result = object.compiledTo.length > 0 ? object.compiledTo.join(', ') : 'accepted';
  return object.message === undefined ? result : `${result} (${object.message})`;
}

/** What pods tried to call and may not, by node. */
function refusalRows({ refusals = [] }: MeshStatus): string[][] {
  return refusals.map(({ node, reason, policy, count }) => [
    node,
    `${count} connections`,
    reason === 'changed' ? 'cut by a change of the rules' : reason,
    policy,
  ]);
}

/**
 * What `loam local status` prints.
 *
 * @param shown of which the pods, waypoints and objects are listed, where that is not all (status-in-namespace.ts)
 */
export function statusText(status: MeshStatus, shown = status): string {
  const { report, controller } = shown;
  const lines = [
    `mesh ${report.mesh}, manifests ${report.manifests}, addresses ${report.addresses}, supervisor pid ${report.supervisorPid}`,
    `logs in ${meshPaths(report.mesh).logs}`,
    '',
    'PROGRAMS',
    ...columns(programRows(status)),
    '',
    'PODS',
    ...(report.pods.length === 0 ? ['  none'] : columns(podRows(shown))),
    '',
    ...(report.waypoints.length === 0 ? [] : ['WAYPOINTS', ...columns(waypointRows(shown)), '']),
    `OBJECTS${controller === undefined ? '' : ` (generation ${controller.generation})`}`,
  ];
  if (controller === undefined) lines.push('  the controller does not answer');
  else lines.push(...columns(controller.objects.map((object) => [objectName(object), objectText(object)])));
  const refused = refusalRows(status);
  if (refused.length > 0) lines.push('', 'REFUSED AT THE SOURCE', ...columns(refused));
  const plain = earlierLines(
    shown.report.pods.flatMap(({ uid, namespace, name }) => {
      const earlier = status.enrolled[uid]?.earlier;
      return earlier === undefined ? [] : [{ namespace, name, ...earlier }];
    }),
  );
  if (plain.length > 0) lines.push('', 'STILL PLAIN', ...plain.map((line) => `  ${line}`));
  const warnings = warningsOf(status);
  if (warnings.length > 0) lines.push('', 'WARNINGS');
  for (const { what, why } of warnings) lines.push(`  ${what}: ${why}`);
  const problems = problemsOf(status);
  lines.push('');
  if (problems.length === 0) lines.push(verdictText(warnings.length));
  else {
    lines.push('NOT WELL');
    for (const { what, why } of problems) lines.push(`  ${what}: ${why}`);
  }
  return `${lines.join('\n')}\n`;
}
