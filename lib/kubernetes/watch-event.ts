import { errorText } from '../loam-error.ts';
import { isRecord, isResource, type KubeResource } from './resource.ts';

/** One line of a watch. */
export type WatchEvent = {
  /** Where a later watch goes on from. */
  readonly resourceVersion: string | undefined;
} & (
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: KubeResource }
  | { readonly type: 'BOOKMARK' }
);

/** A watch that cannot be gone on with; a new list is due. */
export class WatchEnded extends Error {
  /** The history from where it should have begun is no more: nothing is wrong. */
  readonly expired: boolean;

  constructor(message: string, expired: boolean) {
    super(message);
    this.name = new.target.name;
    this.expired = expired;
  }
}

const MAX_SHOWN = 200;

/**
 * Reads one line of a watch.
 *
 * @throws WatchEnded for an ERROR event, and for a line that makes no sense: what was lost with it is unknown
 */
export function parseWatchEvent(line: string): WatchEvent {
  let data: unknown;
  try {
    data = JSON.parse(line);
  } catch (error) {
    throw new WatchEnded(`a line of the watch is no JSON: ${errorText(error)}`, false);
  }
  const type = isRecord(data) ? data['type'] : undefined;
  const object = isRecord(data) ? data['object'] : undefined;
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      if (!isResource(object)) throw new WatchEnded('a line of the watch holds no object with a name', false);
      return { type, object, resourceVersion: versionOf(object) };
    case 'BOOKMARK':
      return { type, resourceVersion: versionOf(object) };
    case 'ERROR': {
      const { code, message } = isRecord(object) ? object : {};
      const said = typeof message === 'string' ? message.slice(0, MAX_SHOWN) : 'no reason given';
      throw new WatchEnded(`the watch ended: ${said}`, code === 410);
    }
    default:
      throw new WatchEnded(`a line of the watch is of no known type: ${line.slice(0, MAX_SHOWN)}`, false);
  }
}

function versionOf(object: unknown): string | undefined {
  if (!isRecord(object) || !isRecord(object['metadata'])) return undefined;
  const version = object['metadata']['resourceVersion'];
  return typeof version === 'string' && version !== '' ? version : undefined;
}
