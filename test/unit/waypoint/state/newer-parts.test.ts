import assert from 'node:assert/strict';
import { toBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { type Resource, ResourceSchema } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { compileRoute } from '../../../../lib/mesh/waypoint/routing/compile-route.ts';
import type { NamedResource } from '../../../../lib/mesh/waypoint/config-store.ts';
import { type Decoded, decodeResource } from '../../../../waypoint/state/decode-resource.ts';
import { route, service, settings, trafficPolicy } from '../support/resources.ts';

/** A field of this number, as a newer controller would write it. */
function add(part: object, no: number): void {
  (part as { $unknown?: unknown[] }).$unknown = [{ no, wireType: 0, data: Uint8Array.of(1) }];
}

function decode({ name, resource }: NamedResource): Decoded {
  return decodeResource(name, toBinary(ResourceSchema, resource));
}

type Kinds = { [K in Resource['kind'] as K['case'] & string]: K };

function valueOf<C extends keyof Kinds>({ kind }: Resource, name: C): NonNullable<Kinds[C]['value']> {
  assert.equal(kind.case, name);
  return kind.value;
}

function sent(): NamedResource {
  return route('r', ['pay'], {
    rules: [
      {
        matches: [
          {
            path: { how: { case: 'prefix', value: '/a' } },
            headers: [{ name: 'x', how: { case: 'exact', value: '1' } }],
          },
        ],
        filters: [{ kind: { case: 'redirect', value: { status: 302 } } }],
        backends: [{ service: 'shop/pay', port: 80, weight: 1 }],
      },
      { backends: [{ service: 'shop/pay', port: 80, weight: 1 }] },
    ],
  });
}

/** Which of a route's rules answer 500, by their only backend. */
function refusing({ value: { resource } }: Decoded): boolean[] {
  const value = valueOf(resource, 'route');
  compileRoute(value);
  return value.rules.map(
    ({ backends, filters }) => filters.length === 0 && backends.length === 1 && backends[0]?.invalid !== '',
  );
}

describe('waypoint/state/newer-parts', () => {
  it('passes over a field that may be passed over, in silence', () => {
    const [aRoute, aService, aPolicy] = [
      sent(),
      service('pay'),
      trafficPolicy('t', { timeouts: { idle: 5 } }),
    ];
    add(valueOf(aRoute.resource, 'route'), 77);
    add(valueOf(aRoute.resource, 'route').rules[0] ?? {}, 77);
    add(valueOf(aService.resource, 'service').ports[0] ?? {}, 77);
    add(valueOf(aPolicy.resource, 'trafficPolicy').timeouts ?? {}, 999);
    for (const resource of [aRoute, aService, aPolicy]) {
      const { errors, value } = decode(resource);
      assert.deepEqual(errors, []);
      assert.deepEqual(value, resource);
    }
  });

  const parts: [what: string, pick: (resource: Resource) => object | undefined, rules: boolean[]][] = [
    ['a match', (r) => valueOf(r, 'route').rules[0]?.matches[0], [true, false]],
    ['a path', (r) => valueOf(r, 'route').rules[0]?.matches[0]?.path, [true, false]],
    ['a header', (r) => valueOf(r, 'route').rules[0]?.matches[0]?.headers[0], [true, false]],
    ['a filter', (r) => valueOf(r, 'route').rules[0]?.filters[0], [true, false]],
    ['what a filter holds', (r) => valueOf(r, 'route').rules[0]?.filters[0]?.kind.value, [true, false]],
  ];
  for (const [what, pick, rules] of parts) {
    it(`answers 500 in place of a rule with an unknown field in ${what}, and says so`, () => {
      const resource = sent();
      add(pick(resource.resource) ?? assert.fail(), 9);
      const decoded = decode(resource);
      assert.deepEqual(refusing(decoded), rules);
      assert.match(
        decoded.errors[0]?.message ?? '',
        /"route\/HTTPRoute\/shop\/r": route\.rules\[0\].*field 9 .*500/,
      );
    });
  }

  it('means no fewer requests where it is a condition that is not known', () => {
    const resource = sent();
    const match = valueOf(resource.resource, 'route').rules[0]?.matches[0];
    assert.ok(match?.path !== undefined && match.headers[0] !== undefined);
    match.path.how = { case: undefined };
    match.headers[0].how = { case: undefined };
    add(match.path, 4);
    add(match.headers[0], 4);
    const [rule] = valueOf(decode(resource).value.resource, 'route').rules;
    assert.equal(rule?.matches[0]?.path, undefined);
    assert.deepEqual(rule?.matches[0]?.headers, []);
  });

  it('answers 500 in place of a rule, or of all, with a field that must not be passed over', () => {
    const one = sent();
    add(valueOf(one.resource, 'route').rules[1] ?? assert.fail(), 1_000);
    assert.deepEqual(refusing(decode(one)), [false, true]);
    for (const pick of [
      (r: Resource) => valueOf(r, 'route'),
      (r: Resource) => valueOf(r, 'route').parents[0] ?? assert.fail(),
    ]) {
      const all = sent();
      add(pick(all.resource), 1_000);
      assert.deepEqual(refusing(decode(all)), [true, true]);
    }
  });

  it('denies at a Service, and aborts by a traffic policy, with such a field', () => {
    const pay = service('pay', { authorization: ['shop/a'] });
    add(valueOf(pay.resource, 'service'), 1_001);
    const denied = decode(pay);
    assert.deepEqual(valueOf(denied.value.resource, 'service').authorization, [
      'shop/a',
      '/newer-than-this-waypoint',
    ]);
    assert.match(denied.errors[0]?.message ?? '', /service\.field 1001 .*denied/);
    const policy = trafficPolicy('t', { rateLimit: { rules: [{ requests: 1, per: 1_000, burst: 1 }] } });
    add(valueOf(policy.resource, 'trafficPolicy').rateLimit?.rules[0] ?? assert.fail(), 1_000);
    const { fault } = valueOf(decode(policy).value.resource, 'trafficPolicy');
    assert.deepEqual([fault?.abortPercent, fault?.abortStatus, fault?.headers], [100, 500, []]);
  });

  it('refuses settings with such a field, which have no stricter form', () => {
    const resource = settings({ trustedHops: 1 });
    add(valueOf(resource.resource, 'settings'), 1_000);
    assert.throws(() => decode(resource), /settings\.field 1000 is not known to this waypoint/);
  });
});
