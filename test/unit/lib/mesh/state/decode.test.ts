import assert from 'node:assert/strict';
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import {
  AuthorizationSchema,
  ClauseSchema,
  MatchSchema,
  RuleSchema,
  type Clause,
  type Rule,
} from '../../../../../proto/gen/istio/security/authorization_pb.js';
import { AddressSchema } from '../../../../../proto/gen/istio/workload/workload_pb.js';
import { decodeAddress, decodePolicy, ResourceError } from '../../../../../lib/mesh/state/decode.ts';

const UID = 'Kubernetes//Pod/shop/web';
const HOST = 'shop/web.shop.svc.cluster.local';

type WorkloadInit = Extract<
  NonNullable<MessageInitShape<typeof AddressSchema>['type']>,
  { case: 'workload' }
>['value'];
type ServiceInit = Extract<
  NonNullable<MessageInitShape<typeof AddressSchema>['type']>,
  { case: 'service' }
>['value'];
type PolicyInit = Omit<MessageInitShape<typeof AuthorizationSchema>, '$typeName'>;
type MatchInit = NonNullable<NonNullable<NonNullable<PolicyInit['rules']>[0]['clauses']>[0]['matches']>[0];

function bytesOf(init: MessageInitShape<typeof AddressSchema>): Uint8Array {
  return toBinary(AddressSchema, create(AddressSchema, init));
}
function decodeWorkload(value: WorkloadInit, name = UID) {
  const base = { uid: UID, name: 'web', namespace: 'shop' };
  const found = decodeAddress(name, bytesOf({ type: { case: 'workload', value: { ...base, ...value } } }));
  assert.equal(found.kind, 'workload');
  return found;
}
function decodeService(value: ServiceInit, name = HOST) {
  const base = { name: 'web', namespace: 'shop', hostname: 'web.shop.svc.cluster.local' };
  const found = decodeAddress(name, bytesOf({ type: { case: 'service', value: { ...base, ...value } } }));
  assert.equal(found.kind, 'service');
  return found;
}
function policyBytes(init: PolicyInit): Uint8Array {
  return toBinary(
    AuthorizationSchema,
    create(AuthorizationSchema, { name: 'p', namespace: 'shop', ...init }),
  );
}
function decodeMatch(match: MatchInit) {
  const decoded = decodePolicy('shop/p', policyBytes({ rules: [{ clauses: [{ matches: [match] }] }] }));
  const found = decoded.policy.rules[0]?.clauses[0]?.matches[0];
  assert.ok(found);
  return { match: found, errors: decoded.errors.map((e) => e.message) };
}
function broken(act: () => unknown, field: string, ...parts: string[]): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof ResourceError);
    assert.equal(error.field, field);
    for (const part of [error.resource, field, ...parts])
      assert.ok(error.message.includes(part), error.message);
    return true;
  });
}

describe('decoding addresses', () => {
  it('fills in what the wire leaves out', () => {
    const found = decodeWorkload({ addresses: [Uint8Array.of(198, 18, 1, 2)] });
    assert.equal(found.kind, 'workload');
    assert.ok('identity' in found);
    assert.deepEqual(found.identity, {
      trustDomain: 'cluster.local',
      namespace: 'shop',
      serviceAccount: 'default',
    });
    assert.deepEqual(found.addresses, ['198.18.1.2']);
    assert.equal(found.tunnelProtocol, 'none');
    assert.equal(found.capacity, 1);
    assert.equal(found.healthy, true);
    assert.ok(!('waypoint' in found));
    assert.deepEqual(structuredClone(found), found);
  });

  it('keeps every field', () => {
    const found = decodeWorkload({
      addresses: [Uint8Array.of(...Array.from({ length: 10 }, () => 0), 0xff, 0xff, 10, 0, 0, 9)],
      network: 'n2',
      tunnelProtocol: 1,
      trustDomain: 'td.example',
      serviceAccount: 'sa',
      waypoint: {
        destination: { case: 'hostname', value: { namespace: 'shop', hostname: 'wp' } },
        hboneMtlsPort: 15008,
      },
      networkGateway: {
        destination: { case: 'address', value: { network: 'n', address: Uint8Array.of(1, 2, 3, 4) } },
      },
      applicationTunnel: { protocol: 1, port: 15080 },
      services: { [HOST]: { ports: [{ servicePort: 80, targetPort: 8080 }] } },
      authorizationPolicies: ['shop/p'],
      status: 1,
      networkMode: 1,
      capacity: 0,
      locality: { region: 'r', zone: 'z' },
    });
    assert.ok('identity' in found);
    assert.deepEqual(found.addresses, ['10.0.0.9'], 'IPv4-mapped is IPv4');
    assert.equal(found.identity.trustDomain, 'td.example');
    assert.deepEqual(found.waypoint, { by: 'hostname', service: 'shop/wp', hboneMtlsPort: 15008 });
    assert.deepEqual(found.networkGateway, {
      by: 'address',
      address: { network: 'n', ip: '1.2.3.4' },
      hboneMtlsPort: 0,
    });
    assert.deepEqual(found.applicationTunnel, { protocol: 'proxy', port: 15080 });
    assert.deepEqual(found.services, [
      { service: HOST, ports: [{ servicePort: 80, targetPort: 8080, appProtocol: 'unknown' }] },
    ]);
    assert.equal(found.healthy, false);
    assert.equal(found.hostNetwork, true);
    assert.equal(found.capacity, 0);
    assert.deepEqual(found.locality, { region: 'r', zone: 'z', subzone: '' });
  });

  it('names what is wrong with a workload', () => {
    broken(() => decodeWorkload({}, 'other'), 'uid', UID);
    broken(() => decodeWorkload({ uid: '' }, ''), 'uid');
    broken(() => decodeWorkload({ namespace: '' }), 'namespace');
    broken(() => decodeWorkload({ addresses: [Uint8Array.of(1, 2, 3)] }), 'addresses[0]', '0x010203');
    broken(() => decodeWorkload({ tunnelProtocol: 9 as 0 }), 'tunnel_protocol', '9', 'hbone');
    broken(() => decodeWorkload({ status: 5 as 0 }), 'status', '5');
    broken(
      () => decodeWorkload({ serviceAccount: 'a/../b' }),
      'trust_domain, namespace, service_account',
      'a/../b',
    );
    broken(() => decodeWorkload({ waypoint: {} }), 'waypoint.destination');
    const services = { [HOST]: { ports: [{ servicePort: 70_000 }] } };
    broken(() => decodeWorkload({ services }), `services[${HOST}].ports[0].service_port`, '70000', '65535');
    const cut = bytesOf({ type: { case: 'workload', value: { uid: UID } } }).subarray(0, 5);
    broken(() => decodeAddress(UID, cut), 'resource');
    broken(() => decodeAddress(UID, new Uint8Array()), 'type');
  });

  it('takes services with and without addresses, ranges too', () => {
    const found = decodeService({
      addresses: [
        { address: Uint8Array.of(198, 19, 0, 1) },
        { address: Uint8Array.of(198, 19, 0, 2), length: 32 },
        { address: Uint8Array.of(10, 1, 0, 0), length: 16 },
      ],
      ports: [{ servicePort: 80 }],
    });
    assert.ok('ports' in found);
    assert.deepEqual(found.addresses, [
      { network: '', ip: '198.19.0.1' },
      { network: '', ip: '198.19.0.2' },
      { network: '', ip: '10.1.0.0', range: { bytes: [10, 1, 0, 0], length: 16 } },
    ]);
    assert.deepEqual(found.loadBalancing, {
      routingPreference: [],
      mode: 'unspecified',
      allowUnhealthy: false,
    });
    assert.deepEqual(decodeService({}).addresses, []);
  });

  it('names what is wrong with a service', () => {
    broken(() => decodeService({}, 'shop/other'), 'namespace and hostname', HOST);
    broken(
      () => decodeService({ addresses: [{ address: Uint8Array.of(1, 2, 3, 4), length: 33 }] }),
      'addresses[0].length',
      '33',
    );
    broken(() => decodeService({ ports: [{ servicePort: 0 }] }), 'ports[0].service_port');
    broken(() => decodeService({ loadBalancing: { mode: 9 as 0 } }), 'load_balancing.mode', '9');
    const routingPreference = [0 as const];
    broken(
      () => decodeService({ loadBalancing: { routingPreference } }),
      'load_balancing.routing_preference[0]',
    );
    broken(
      () => decodeService({ weightedWaypoints: [{ weight: 1 }] }),
      'weighted_waypoints[0].destination.destination',
    );
  });

  it('bounds what it shows of a hostile value', () => {
    assert.throws(
      () => decodeWorkload({ uid: 'x'.repeat(100_000) }),
      (error: Error) => error.message.length < 500,
    );
  });
});

describe('decoding policies', () => {
  it('keeps what it understands', () => {
    const { match, errors } = decodeMatch({
      principals: [
        { matchType: { case: 'exact', value: 'cluster.local/ns/shop/sa/a' } },
        { matchType: { case: 'presence', value: {} } },
      ],
      notNamespaces: [{ matchType: { case: 'prefix', value: 'x' } }],
      sourceIps: [{ address: Uint8Array.of(10, 0, 0, 0), length: 8 }],
      destinationPorts: [80],
      serviceAccounts: [{ namespace: 'shop', serviceAccount: 'a' }],
    });
    assert.deepEqual(errors, []);
    assert.equal(match.unsupported, undefined);
    assert.deepEqual(match.principals, [
      { how: 'exact', text: 'cluster.local/ns/shop/sa/a' },
      { how: 'presence' },
    ]);
    assert.deepEqual(match.sourceIps, [{ bytes: [10, 0, 0, 0], length: 8 }]);
  });

  it('marks an emptied match and an emptied clause, without blaming the controller', () => {
    const { match, errors } = decodeMatch({});
    assert.match(match.unsupported ?? '', /empty/);
    assert.deepEqual(errors, []);
    const clause = decodePolicy('shop/p', policyBytes({ rules: [{ clauses: [{}] }] })).policy.rules[0]
      ?.clauses[0];
    assert.match(clause?.unsupported ?? '', /empty/);
  });

  it('does not mark a rule without clauses, nor a policy without rules: Istio means all and nothing by them', () => {
    const { policy } = decodePolicy('shop/p', policyBytes({ rules: [{}] }));
    assert.deepEqual(policy.rules, [{ clauses: [] }]);
    assert.equal(decodePolicy('shop/p', policyBytes({})).policy.unsupported, undefined);
  });

  it('marks what has an extension or a field of a later version, at every level', () => {
    // Field 99, a varint, at the end of whatever message stands last.
    const unknown = Uint8Array.of(0x98, 0x06, 0x01);
    const withUnknown = decodePolicy('shop/p', Buffer.concat([policyBytes({}), unknown]));
    assert.match(withUnknown.policy.unsupported ?? '', /does not know/);
    assert.deepEqual(withUnknown.errors, []);
    const extensions = [{ name: 'later' }];
    assert.match(decodePolicy('shop/p', policyBytes({ extensions })).policy.unsupported ?? '', /later/);
    assert.match(decodeMatch({ extensions, destinationPorts: [80] }).match.unsupported ?? '', /later/);
    const ports = () => create(MatchSchema, { destinationPorts: [80] });
    const later = <T extends { $unknown?: unknown }>(message: T): T =>
      Object.assign(message, { $unknown: [{ no: 99, wireType: 0, data: Uint8Array.of(1) }] });
    assert.match(decodeMatch(later(ports())).match.unsupported ?? '', /does not know/);
    const rule = (clauses: Clause[] = []) => create(RuleSchema, { clauses });
    const ruleOf = (init: Rule) => decodePolicy('shop/p', policyBytes({ rules: [init] })).policy.rules[0];
    assert.match(ruleOf(later(rule()))?.unsupported ?? '', /does not know/);
    const clause = later(create(ClauseSchema, { matches: [ports()] }));
    assert.match(ruleOf(rule([clause]))?.clauses[0]?.unsupported ?? '', /does not know/);
  });

  it('reports a broken value, and lets its whole field restrict nothing', () => {
    const cases: [MatchInit, string][] = [
      [{ principals: [{ matchType: { case: 'exact', value: 'a' } }, {}] }, 'principals[1]'],
      [{ destinationPorts: [80, 0] }, 'destination_ports[1]'],
      [{ notDestinationPorts: [70_000] }, 'not_destination_ports[0]'],
      [{ sourceIps: [{ address: Uint8Array.of(1, 2), length: 8 }] }, 'source_ips[0]'],
      [{ sourceIps: [{ address: Uint8Array.of(1, 2, 3, 4), length: 33 }] }, 'source_ips[0]'],
      [{ notSourceIps: [{ address: Uint8Array.of(1, 2, 3, 4), length: 0 }] }, 'not_source_ips[0]'],
      [{ serviceAccounts: [{ namespace: 'shop' }] }, 'service_accounts[0]'],
    ];
    for (const [init, field] of cases) {
      const { match, errors } = decodeMatch(init);
      assert.ok(errors[0]?.includes(field), `${field} in ${errors.join()}`);
      assert.ok(match.unsupported?.includes(field));
      const { unsupported: _, ...fields } = match;
      assert.ok(Object.values(fields).every((values) => values.length === 0));
    }
  });

  it('takes an unknown action for the strictest and an unknown scope for the whole namespace', () => {
    const { policy, errors } = decodePolicy('shop/p', policyBytes({ action: 7 as 0, scope: 9 as 0 }));
    assert.equal(policy.action, 'deny');
    assert.equal(policy.scope, 'namespace');
    assert.ok(policy.unsupported);
    assert.equal(errors.length, 2);
  });

  it('refuses what is no policy, or is of another name', () => {
    broken(() => decodePolicy('shop/p', Uint8Array.of(0xff)), 'resource');
    broken(() => decodePolicy('shop/q', policyBytes({})), 'namespace and name', 'shop/p');
  });
});
