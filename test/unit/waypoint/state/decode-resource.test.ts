import assert from 'node:assert/strict';
import { toBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { MeshError } from '../../../../lib/mesh/errors.ts';
import { ResourceSchema } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { NamedResource } from '../../../../lib/mesh/waypoint/config-store.ts';
import { decodeResource } from '../../../../waypoint/state/decode-resource.ts';
import {
  authentication,
  authorization,
  route,
  service,
  settings,
  trafficPolicy,
} from '../support/resources.ts';

function decode({ name, resource }: NamedResource, as = name): NamedResource {
  return decodeResource(as, toBinary(ResourceSchema, resource)).value;
}

describe('waypoint/state/decode-resource', () => {
  it('understands each kind under its own name', () => {
    for (const sent of [
      service('pay'),
      route('r', ['pay']),
      authorization('a'),
      authentication('j'),
      trafficPolicy('t'),
      settings({ trustedHops: 1, sessionKey: new Uint8Array(32) }),
    ]) {
      assert.deepEqual(decode(sent), sent);
    }
  });

  const refused: [what: string, resource: NamedResource, as: string, says: RegExp][] = [
    ['of another name', authorization('a'), 'authorization/shop/b', /"authorization\/shop\/a"/],
    ['of another kind', trafficPolicy('a'), 'authorization/shop/a', /"traffic\/shop\/a"/],
    [
      'a route that cannot be compiled',
      route('r', ['pay'], {
        rules: [{ matches: [{ path: { how: { case: 'regex', value: '(' } } }] }],
      }),
      'route/HTTPRoute/shop/r',
      /shop\/r.*rules\[0\].*\(/,
    ],
    [
      'a fault by a regex that is none',
      trafficPolicy('t', {
        fault: { headers: [{ name: 'x', how: { case: 'regex', value: '(' } }] },
      }),
      'traffic/shop/t',
      /traffic\/shop\/t.*\(/,
    ],
    [
      'sessions by a name that no cookie has',
      trafficPolicy('t', { sessionPersistence: { name: 'a b' } }),
      'traffic/shop/t',
      /"a b"/,
    ],
    [
      "a route rule's sessions of such a name",
      route('r', ['pay'], { rules: [{ sessionPersistence: { name: 'a;b' } }] }),
      'route/HTTPRoute/shop/r',
      /"a;b"/,
    ],
    ['a key that is too short', settings({ sessionKey: new Uint8Array(8) }), 'settings', /8 bytes.*32/],
  ];
  for (const [what, resource, as, says] of refused) {
    it(`refuses ${what}, and says which and why`, () => {
      assert.throws(
        () => decode(resource, as),
        (error) =>
          error instanceof MeshError &&
          error.code === 'RESOURCE_INVALID' &&
          error.message.includes(as) &&
          says.test(error.message),
      );
    });
  }

  it('refuses what is of no kind, and what is no message', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from([0xff, 0xff, 0xff])]) {
      assert.throws(
        () => decodeResource('service/shop/x', bytes),
        (error) => error instanceof MeshError && error.code === 'RESOURCE_INVALID',
      );
    }
  });
});
