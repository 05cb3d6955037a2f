import type { PathModifier } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { withoutTrailingSlash } from '../compile-matches.ts';

/** A path after a modifier, and the query if the modifier brings one of its own. */
export interface ModifiedPath {
  readonly path: string;
  readonly query: string | undefined;
}

/**
 * Applies a path modifier (Gateway API, HTTPPathModifier).
 *
 * @param prefix what the match asked the path to begin with, without a slash at its end. `undefined` for other matches,
 * which the compiler refuses together with a replacement of the prefix; the path stays then.
 */
export function modifyPath(
  modifier: PathModifier | undefined,
  path: string,
  prefix: string | undefined,
): ModifiedPath {
  const how = modifier?.how;
  if (how?.case === 'replaceFullPath') return splitQuery(how.value);
  // OPTIONS of the server as a whole has no path whose prefix could be replaced.
  if (
    how?.case !== 'replacePrefixMatch' ||
    path === '*' ||
    prefix === undefined ||
    !path.startsWith(prefix)
  ) {
    return { path, query: undefined };
  }
  const replacement = splitQuery(how.value);
  // The rest is empty or begins with a slash, so that neither a slash is doubled nor one lost.
  const replaced = withoutTrailingSlash(replacement.path) + path.slice(prefix.length);
  return { path: replaced === '' ? '/' : replaced, query: replacement.query };
}

/** A configured path, which may bring a query; a slash at its begin is added where it lacks. */
function splitQuery(text: string): ModifiedPath {
  const mark = text.indexOf('?');
  const path = mark === -1 ? text : text.slice(0, mark);
  return {
    path: path.startsWith('/') ? path : `/${path}`,
    query: mark === -1 ? undefined : text.slice(mark + 1),
  };
}
