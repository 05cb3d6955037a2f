/** `loam waypoint delete`. */
import { InstallError } from '../install/errors.ts';
import { gatewayPath, needGateway } from './gateway.ts';
import type { WaypointApi } from './model.ts';
import { usersOf, usersOfWaypoints, userText, withoutLabel } from './users.ts';

/**
 * Deletes waypoints, and what was made for them. Nothing is deleted when one of them cannot be.
 *
 * @param force also where somebody asks for one of them, whose connections are refused from then on
 * @throws InstallError INSTALL_STATE when there is no such waypoint, or it is in use; ApiError
 */
export async function removeWaypoints(
  api: WaypointApi,
  namespace: string,
  names: readonly string[],
  { force, say }: { readonly force: boolean; readonly say: (line: string) => void },
): Promise<void> {
  const users = await usersOfWaypoints(api);
  for (const name of names) {
    const used = usersOf(await needGateway(api, namespace, name), users);
    const [first] = used;
    if (first === undefined || force) continue;
    const others = used.length > 1 ? ` and ${used.length - 1} more` : '';
    throw new InstallError(
      'INSTALL_STATE',
      `${userText(first)}${others} asks for waypoint ${namespace}/${name}, and connections to what has none are refused: ` +
        `first ${withoutLabel(first)}; --force deletes it all the same`,
    );
  }
  for (const name of names) {
    await api.delete(gatewayPath(namespace, name));
    say(`waypoint ${namespace}/${name} is deleted`);
    for (const user of usersOf({ metadata: { namespace, name, uid: '' } }, users))
      say(`  connections to ${userText(user)} are refused now: ${withoutLabel(user)}`);
  }
}
