/** Names of policies that no manifest has, in words. */
import { parseWaypointGuardName } from '../../lib/waypoint-guard.ts';

/** What Istio's protocol calls "no plaintext": one policy, for all pods that a STRICT covers. */
const STATIC_STRICT = 'istio_converted_static_strict';
const CONVERTED = 'converted_peer_authentication_';
const MADE =
  /[a-z0-9][a-z0-9.-]*\/((?:loam_waypoint_|istio_converted_|converted_peer_authentication_)[\w.-]+)/g;

/** A reason says in words already what is in brackets after it. */
const MADE_BESIDE = /of mode STRICT \([a-z0-9][a-z0-9.-]*\/istio_converted_static_strict\)/g;

/** Puts what stands behind a policy that the controller made in place of its name, wherever it stands in a text. */
export function policiesInWords(text: string): string {
  const plain = text.replace(MADE_BESIDE, 'of mode STRICT');
  return plain.replace(MADE, (whole, name: string) => {
    if (name === STATIC_STRICT) return 'PeerAuthentication STRICT';
    if (name.startsWith(CONVERTED))
      return `PeerAuthentication ${whole.slice(0, whole.indexOf('/'))}/${name.slice(CONVERTED.length)}`;
    const guard = parseWaypointGuardName(name);
    if (guard === undefined) return whole;
    const { ports, waypoints } = guard;
    return `what keeps port ${ports.join(' and ')} to waypoint ${waypoints.join(' and ')}`;
  });
}
