import assert from 'node:assert/strict';
import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { MeshError } from '../../../lib/mesh/errors.ts';
import { type Resource, ResourceSchema } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { Authorizer } from '../../../lib/mesh/waypoint/security/authorizer.ts';
import { compilePolicy } from '../../../lib/mesh/waypoint/security/compile-policy.ts';
import { ConfigStore } from '../../../lib/mesh/waypoint/config-store.ts';
import { decodeResource } from '../../../waypoint/state/decode-resource.ts';
import { head } from '../../unit/lib/mesh/waypoint/security/heads.ts';
import { mutateProtobuf } from '../engine/mutate-protobuf.ts';
import type { FuzzTarget } from '../engine/target.ts';

type Kind = NonNullable<MessageInitShape<typeof ResourceSchema>['kind']>;
const wire = (kind: Kind): Uint8Array => toBinary(ResourceSchema, create(ResourceSchema, { kind }));
const at = { namespace: 'shop', name: 'p' };

function nameOf(bytes: Uint8Array): string {
  let kind: Resource['kind'];
  try {
    kind = fromBinary(ResourceSchema, bytes).kind;
  } catch {
    return '';
  }
  switch (kind.case) {
    case 'service':
      return `service/${kind.value.key}`;
    case 'route':
      return `route/${kind.value.kind}/${kind.value.namespace}/${kind.value.name}`;
    case 'trafficPolicy':
      return `traffic/${kind.value.namespace}/${kind.value.name}`;
    case 'authorization':
    case 'authentication':
      return `${kind.case}/${kind.value.namespace}/${kind.value.name}`;
    case 'settings':
      return 'settings';
    case undefined:
      return '';
  }
}

/** A `loam.waypoint.v1.Resource`, as a waypoint decodes it and puts it to use. */
export const target: FuzzTarget = {
  name: 'xds-waypoint',
  mutate: mutateProtobuf,
  seeds: [
    wire({ case: 'settings', value: { sessionKey: new Uint8Array(32), trustedHops: 1 } }),
    wire({
      case: 'service',
      value: {
        key: 'shop/web.shop.svc',
        name: 'web',
        namespace: 'shop',
        served: true,
        ports: [{ port: 80 }],
      },
    }),
    wire({ case: 'trafficPolicy', value: at }),
    wire({ case: 'authentication', value: { ...at, jwtRules: [{ issuer: 'https://i' }] } }),
    ...[0, 1].map((action) =>
      wire({
        case: 'authorization',
        value: { ...at, action, rules: [{ to: [{ methods: ['GET'], paths: ['/a/{*}/b', '/x*'] }] }] },
      }),
    ),
    wire({
      case: 'route',
      value: {
        ...at,
        kind: 'HTTPRoute',
        parents: [{ service: 'shop/web.shop.svc' }],
        hostnames: ['*.shop'],
        rules: [{ matches: [{}], filters: [], backends: [] }],
      },
    }),
  ],
  run(input) {
    const name = nameOf(input);
    let named;
    try {
      named = decodeResource(name, input).value;
    } catch (error) {
      assert.ok(error instanceof MeshError, String(error));
      return;
    }
    new ConfigStore().apply({ upserts: [named], removed: [] });
    const { kind } = named.resource;
    if (kind.case !== 'authorization') return;
    // Whatever stands in it, it is judged, and a part that is not known never makes it milder.
    const decision = new Authorizer([compilePolicy(kind.value)]).evaluate(head()).verdict;
    const strict = new Authorizer([
      compilePolicy({ ...kind.value, $unknown: [{ no: 500, wireType: 0, data: Uint8Array.of(1) }] }),
    ]).evaluate(head()).verdict;
    if (decision === 'deny') assert.equal(strict, 'deny', 'what is not understood makes it milder');
  },
};
