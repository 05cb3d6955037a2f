/** What the controllers of a cluster have to say about its objects, for `loam status` and `loam check`. */
import { rejection } from '../../local/problem-text.ts';
import type { ControllerStatus } from '../../local/status.ts';
import { refusedIn, warningsIn, type Warning } from '../../local/warnings.ts';

/** Kubernetes' own kinds. What is odd in one of them matters where its namespace is in the mesh; a label of ours, anywhere. */
const CORE_KINDS = new Set(['Namespace', 'ServiceAccount', 'Service', 'Pod', 'Node', 'EndpointSlice']);
const LABELS = 'metadata.';

/** What is not as it should be: objects that were refused, connections that are, waypoints that refuse their configuration. */
export function controllerProblems(controller: ControllerStatus): Warning[] {
  const { objects, gateways = [] } = controller;
  return [
    ...objects
      .filter(({ state }) => state === 'rejected')
      .map((object) => ({ what: objectText(object), why: rejection(object) })),
    ...refusedIn(controller, objectText),
    ...gateways.flatMap(({ gateway, nacks }) =>
      nacks.map((nack) => ({ what: `waypoint ${gateway}`, why: `refuses its configuration: ${nack}` })),
    ),
  ];
}

/**
 * What works, and its author may not have meant so.
 *
 * @param meshed the namespaces with pods in the mesh
 */
export function controllerWarnings(controller: ControllerStatus, meshed: ReadonlySet<string>): Warning[] {
  const matters = (object: { kind: string; namespace: string } | undefined, field = ''): boolean =>
    object === undefined ||
    !CORE_KINDS.has(object.kind) ||
    field.startsWith(LABELS) ||
    meshed.has(object.namespace);
  const heard = {
    ...controller,
    objects: controller.objects.filter((object) => matters(object)),
    files: controller.files.map(({ problems = [], ...file }) => ({
      ...file,
      problems: problems.filter(({ object, field }) => matters(object, field)),
    })),
  };
  return warningsIn(heard, objectText);
}

/** In a cluster no file is its place. */
export function objectText({
  kind,
  namespace,
  name,
}: Pick<ControllerStatus['objects'][number], 'kind' | 'namespace' | 'name'>): string {
  return `${kind} ${namespace === '' ? name : `${namespace}/${name}`}`;
}
