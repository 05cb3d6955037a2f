import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { policiesInWords } from '../../../../cli/output/policy-words.ts';
import { waypointGuardName } from '../../../../lib/waypoint-guard.ts';

describe('names of policies in words', () => {
  const guard = waypointGuardName({ ports: [8080, 80], waypoints: ['shop/way', 'infra/way.two'] });
  for (const [text, expected] of [
    ['denied by policy shop/db', 'denied by policy shop/db'],
    [`DENY shop/${guard}`, 'DENY what keeps port 80 and 8080 to waypoint infra/way.two and shop/way'],
    ['none of shop/a, shop/loam_waypoint_x denies it', 'none of shop/a, shop/loam_waypoint_x denies it'],
    ['loam-system/istio_converted_static_strict', 'PeerAuthentication STRICT'],
    [
      'plaintext is denied by a PeerAuthentication of mode STRICT (loam-system/istio_converted_static_strict)',
      'plaintext is denied by a PeerAuthentication of mode STRICT',
    ],
    ['shop/converted_peer_authentication_ports, shop/b', 'PeerAuthentication shop/ports, shop/b'],
  ] as const)
    it(`of ${text}`, () => assert.equal(policiesInWords(text), expected));
});
