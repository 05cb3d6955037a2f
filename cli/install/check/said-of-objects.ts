/** What the controllers warn of in objects: labels that are nearly ours, accounts and Services that do not exist. */
import type { V1DaemonSet, V1Namespace } from '@kubernetes/client-node';
import { DATAPLANE_MODE_LABEL } from '../../../lib/enrolment.ts';
import { errorText } from '../../../lib/loam-error.ts';
import { fieldText } from '../../local/problem-text.ts';
import type { ControllerStatus, ManifestProblem } from '../../local/status.ts';
import { controllerWarnings, objectText } from '../../mesh/cluster/controller-words.ts';
import { USE_WAYPOINT_LABEL } from '../../waypoints/model.ts';
import { collectionPath } from '../cluster/kinds.ts';
import { reasonOf } from '../cluster/pod-reasons.ts';
import { askController } from '../render/programs.ts';
import { fail, labelMend, note, pass, type Finding } from './finding.ts';
import { podsOf } from './installation.ts';
import type { CheckSubject } from './subject.ts';

const MAX_TOLD = 20;
const ISTIO = 'istio.io/';

/** @throws Error when no controller can be asked */
export async function checkSaidOfObjects(subject: CheckSubject): Promise<Finding[]> {
  const said = await ofController(subject);
  if (said === undefined) return [];
  const istio = await hasIstio(subject);
  const findings: Finding[] = [];
  const labels = said.files
    .flatMap(({ problems = [] }) => problems)
    .filter(({ severity, field = '', object }) => severity === 'warning' && object && isLabel(field))
    // Another check says it (configuration.ts), which needs no controller.
    .filter(({ field }) => labelOf(field) !== USE_WAYPOINT_LABEL)
    // Where Istio runs too, its labels are its own.
    .filter(({ field }) => !(istio && labelOf(field).startsWith(ISTIO)));
  const told = new Set<string>();
  for (const problem of labels) {
    const what = objectText(problem.object as NonNullable<ManifestProblem['object']>);
    const text = fieldText(problem);
    told.add(`${what} ${text}`);
    findings.push(fail(what, text, mendOf(problem)));
  }
  for (const { what, why } of controllerWarnings(said, await meshedNamespaces(subject)))
    if (!told.has(`${what} ${why}`) && !(istio && why.includes(`"${ISTIO}`))) findings.push(note(what, why));
  if (findings.length === 0) return [pass('labels and policies', 'the controllers warn of none')];
  if (findings.length <= MAX_TOLD) return findings;
  return [
    ...findings.slice(0, MAX_TOLD),
    note('labels and policies', `and ${findings.length - MAX_TOLD} lines more: loam status`),
  ];
}

/** Of the first that answers; undefined where none runs, which another check says. */
async function ofController({ api, pods, namespace }: CheckSubject): Promise<ControllerStatus | undefined> {
  const running = (await podsOf({ api, namespace }, 'controller')).filter(
    (pod) => reasonOf(pod) === undefined,
  );
  let problem: string | undefined;
  for (const { metadata } of running) {
    try {
      const text = await pods.run(namespace, metadata?.name ?? '', 'controller', askController());
      return statusIn(text);
    } catch (error) {
      problem ??= errorText(error);
    }
  }
  if (problem === undefined) return undefined;
  throw new Error(`no controller can be asked: ${problem}`);
}

function statusIn(text: string): ControllerStatus {
  const { files = [], objects = [], ...rest } = JSON.parse(text) as Partial<ControllerStatus>;
  return { generation: 0, nodes: [], ...rest, files, objects };
}

async function meshedNamespaces({ api }: CheckSubject): Promise<ReadonlySet<string>> {
  const labelSelector = `${DATAPLANE_MODE_LABEL}=ambient`;
  const found = await api.list<V1Namespace>(collectionPath('v1/Namespace'), { labelSelector });
  return new Set(found.map(({ metadata }) => metadata?.name ?? ''));
}

async function hasIstio({ api }: CheckSubject): Promise<boolean> {
  const daemonSets = await api.list<V1DaemonSet>(collectionPath('apps/v1/DaemonSet'));
  return daemonSets.some(({ metadata }) => metadata?.name === 'istio-cni-node');
}

function isLabel(field: string): boolean {
  return /^metadata\.labels\b/.test(field);
}

/** The label of `metadata.labels["loam.dev/use-waypoint"]`. */
function labelOf(field = ''): string {
  return /\["([^"]+)"\]/.exec(field)?.[1] ?? '';
}

/** The command that does it. */
function mendOf({ object, field, message }: ManifestProblem): string {
  const { kind = '', ...of } = object ?? {};
  const label = labelOf(field);
  const meant = /did you mean "?([a-z0-9./-]+)"?\?/.exec(message)?.[1];
  const right =
    meant === DATAPLANE_MODE_LABEL
      ? ` ${DATAPLANE_MODE_LABEL}=ambient`
      : meant === undefined
        ? ''
        : ` ${meant}=VALUE`;
  const change =
    label === DATAPLANE_MODE_LABEL ? `--overwrite ${DATAPLANE_MODE_LABEL}=ambient` : `${label}-${right}`;
  return labelMend(kind, of, change);
}
