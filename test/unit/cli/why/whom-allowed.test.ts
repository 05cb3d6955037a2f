import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { allowedAtPod, allowedAtWaypoint } from '../../../../cli/why/whom-allowed.ts';
import { cidrFromText } from '../../../../lib/mesh/state/ip.ts';
import type { Match, Policy } from '../../../../lib/mesh/state/model.ts';
import {
  AuthorizationPolicy_Action,
  AuthorizationPolicySchema,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { portPolicy } from '../mesh/fake-mesh.ts';

function policy(...matches: readonly Partial<Match>[]): Policy {
  const base = portPolicy('p', 'allow', 1);
  const none = { ...base.rules[0]?.clauses[0]?.matches[0], destinationPorts: [] } as unknown as Match;
  return { ...base, rules: [{ clauses: [{ matches: matches.map((match) => ({ ...none, ...match })) }] }] };
}

describe('whom policies allow, in words', () => {
  it('of a pod: each field by its name, as it is written', () => {
    const cidr = cidrFromText('10.0.0.0/8');
    assert.ok(cidr);
    assert.deepEqual(
      allowedAtPod([
        policy(
          { principals: [{ how: 'exact', text: 'cluster.local/ns/a/sa/b' }], destinationPorts: [80, 81] },
          { namespaces: [{ how: 'prefix', text: 'shop' }], notSourceIps: [cidr] },
          { serviceAccounts: [{ namespace: 'n', serviceAccount: 's' }] },
        ),
      ]),
      [
        'm/p allows principals cluster.local/ns/a/sa/b and destination ports 80 or 81 or namespaces shop* and not source ips 10.0.0.0/8 or service accounts n/s',
      ],
    );
    assert.deepEqual(allowedAtPod([{ ...policy(), rules: [] }]), ['m/p allows nobody: it has no rule']);
    assert.deepEqual(allowedAtPod([{ ...policy(), rules: [{ clauses: [] }] }]), ['m/p allows anything']);
    assert.deepEqual(allowedAtPod([{ ...policy(), unsupported: 'newer' }]), ['m/p allows nobody: newer']);
  });

  it('leaves out what denies or is on trial, and holds a bound', () => {
    assert.deepEqual(
      allowedAtPod([
        { ...policy(), action: 'deny' },
        { ...policy(), dryRun: true },
      ]),
      [],
    );
    const ports = Array.from({ length: 1000 }, (_, i) => i + 1);
    assert.deepEqual(allowedAtPod([policy({ destinationPorts: ports })]), [
      'm/p allows destination ports 1 or 2 or 3 or 4 or 5 or 995 more that are not told',
    ]);
    assert.equal(allowedAtPod(Array.from({ length: 50 }, () => policy())).length, 6);
  });

  it('of a Service, by its waypoint', () => {
    const allowing = create(AuthorizationPolicySchema, {
      namespace: 'shop',
      name: 'charges',
      action: AuthorizationPolicy_Action.ALLOW,
      rules: [
        {
          from: [{ principals: ['cluster.local/ns/shop/sa/frontend'] }],
          to: [{ methods: ['POST'], paths: ['/charge'] }],
          when: [{ key: 'request.headers[x]', values: ['1'], notValues: ['2'] }],
        },
        {},
      ],
    });
    const denying = create(AuthorizationPolicySchema, {
      name: 'no',
      action: AuthorizationPolicy_Action.DENY,
    });
    assert.deepEqual(allowedAtWaypoint([denying, allowing]), [
      'shop/charges allows principals cluster.local/ns/shop/sa/frontend, methods POST and paths /charge, request.headers[x] 1 or not 2; or anything',
    ]);
  });
});
