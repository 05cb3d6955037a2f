import { MESH_SETTINGS_NAME } from '../model/egress-policy.ts';
import type { Kind, KubeObject } from '../model/objects.ts';
import { asKubeObject, validateSchema } from '../schema/validate.ts';

/** What is in force in place of a broken manifest that was never right. */
export interface StandIn {
  readonly object: KubeObject;
  /** What it does, for the status: `in force in its place … is one that allows nothing`. */
  readonly effect: string;
}

const GROUP = 'loam.dev/';

/**
 * The strictest object that a broken manifest may have meant, for the kinds that restrict what pods may call: passed
 * over, it would leave everything open. An EgressPolicy then allows nothing to the pods of its selector, or where that
 * is broken itself, of its namespace; MeshSettings then refuse what the mesh does not know. Undefined for other kinds, and
 * where not even the name can be read.
 *
 * @param data the manifest as read, nothing of it known to be right
 */
export function standInFor(kind: Kind, data: Readonly<Record<string, unknown>>): StandIn | undefined {
  const { apiVersion, metadata, spec } = data;
  if (typeof apiVersion !== 'string' || !apiVersion.startsWith(GROUP) || !isRecord(metadata))
    return undefined;
  const { name, namespace } = metadata;
  if (kind === 'MeshSettings') {
    if (name !== MESH_SETTINGS_NAME) return undefined;
    return first(kind, 'in force in its place, until it is right, is that unknown destinations are refused', [
      { metadata: { name }, spec: { outboundTrafficPolicy: 'REGISTRY_ONLY' } },
    ]);
  }
  if (kind !== 'EgressPolicy') return undefined;
  const meta = namespace === undefined || namespace === null ? { name } : { name, namespace };
  const selector = isRecord(spec) ? spec['selector'] : undefined;
  const whole = { metadata: meta, spec: { allow: [] } };
  return first(kind, 'in force in its place, until it is right, is one that allows nothing', [
    ...(selector === undefined ? [] : [{ metadata: meta, spec: { selector, allow: [] } }]),
    whole,
  ]);
}

/** The first candidate that is right. */
function first(kind: Kind, effect: string, candidates: readonly object[]): StandIn | undefined {
  for (const candidate of candidates) {
    const object = { apiVersion: `${GROUP}v1`, kind, ...candidate };
    if (validateSchema(kind, object).length === 0) return { object: asKubeObject(object), effect };
  }
  return undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
