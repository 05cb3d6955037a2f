import { fromBinary } from '@bufbuild/protobuf';
import { errorText } from '../../lib/loam-error.ts';
import { MeshError } from '../../lib/mesh/errors.ts';
import { shown } from '../../lib/mesh/state/resource-error.ts';
import { ResourceSchema, type Resource } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { FaultInjector } from '../resilience/fault.ts';
import { SessionPersistence, type SessionSettings } from '../resilience/session-persistence.ts';
import { compileRoute } from '../../lib/mesh/waypoint/routing/compile-route.ts';
import type { NamedResource } from '../../lib/mesh/waypoint/config-store.ts';
import { strictForm } from './newer-parts.ts';

export const RESOURCE_TYPE = 'type.googleapis.com/loam.waypoint.v1.Resource';

const ANY_KEY = new Uint8Array(32);

/** A resource as it is put to use, and why that is stricter than it was written, to be told to the controller. */
export interface Decoded {
  readonly value: NamedResource;
  readonly errors: readonly MeshError[];
}

/**
 * Understands one resource and tries whether it can be put to use, so that what cannot is refused as a whole and its
 * former version stays in force. Of what is only newer than this waypoint, the fail-closed form is taken.
 *
 * @throws MeshError RESOURCE_INVALID
 */
export function decodeResource(name: string, bytes: Uint8Array): Decoded {
  try {
    const written = fromBinary(ResourceSchema, bytes);
    const expected = nameOf(written);
    if (expected !== name) throw new Error(`its content is that of ${shown(expected)}`);
    const { resource, problems } = strictForm(written);
    tryOut(resource);
    return { value: { name, resource }, errors: problems.map((problem) => invalid(name, problem)) };
  } catch (error) {
    throw invalid(name, errorText(error), error);
  }
}

function invalid(name: string, what: string, cause?: unknown): MeshError {
  return new MeshError('RESOURCE_INVALID', `${shown(name)}: ${what}`, { cause });
}

/** @throws Error what would be thrown at the first request */
function tryOut({ kind }: Resource): void {
  if (kind.case === 'route') {
    compileRoute(kind.value);
    for (const { sessionPersistence } of kind.value.rules) trySession(sessionPersistence);
  } else if (kind.case === 'trafficPolicy') {
    const { fault, sessionPersistence } = kind.value;
    if (fault !== undefined) new FaultInjector(fault);
    trySession(sessionPersistence);
  } else if (kind.case === 'settings') {
    const { length } = kind.value.sessionKey;
    if (length > 0 && length < ANY_KEY.length)
      throw new Error(`sessionKey has ${length} bytes, allowed: none, or at least ${ANY_KEY.length}`);
  }
}

function trySession(settings: SessionSettings | undefined): void {
  if (settings !== undefined) new SessionPersistence(settings, 'any/service', ANY_KEY);
}

function nameOf({ kind }: Resource): string {
  switch (kind.case) {
    case 'service':
      return `service/${kind.value.key}`;
    case 'route':
      return `route/${kind.value.kind}/${kind.value.namespace}/${kind.value.name}`;
    case 'authorization':
      return `authorization/${kind.value.namespace}/${kind.value.name}`;
    case 'authentication':
      return `authentication/${kind.value.namespace}/${kind.value.name}`;
    case 'trafficPolicy':
      return `traffic/${kind.value.namespace}/${kind.value.name}`;
    case 'settings':
      return 'settings';
    case undefined:
      throw new Error('it is of a kind that is not known here');
  }
}
