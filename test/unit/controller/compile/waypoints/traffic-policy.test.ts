import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import { packageRoot } from '../../../../../lib/package-root.ts';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { compileMesh, type CompiledMesh, type Outcome } from '../../../../../controller/compile/mesh.ts';
import { group } from '../../../../../controller/compile/group.ts';
import { Outcomes } from '../../../../../controller/compile/outcomes.ts';
import { TrafficPolicies } from '../../../../../controller/compile/waypoints/traffic-policy.ts';
import { makeWorld } from '../../../../../controller/compile/waypoints/world.ts';
import type { KubeObject } from '../../../../../controller/model/objects.ts';
import { accept, type HeldObject } from '../../../../../controller/sources/accept.ts';
import { readManifest } from '../../../../../controller/sources/read-object.ts';
import { ResourceSchema } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';

const OPTIONS = { rootNamespace: 'istio-system', trustDomain: 'cluster.local' };

/** A mesh with Services payments, standby and other/spare, of which a waypoint serves payments. */
const MESH = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: loam-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: shop, labels: {loam.dev/use-waypoint: waypoint}}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: standby, namespace: shop}
spec: {clusterIP: 10.0.0.2, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: spare, namespace: other}
spec: {clusterIP: 10.0.0.3, ports: [{port: 80}]}
`;

const ROUTE = `
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: checkout, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: payments}], rules: [{backendRefs: [{name: payments, port: 80}]}]}
`;

function policy(name: string, spec: string, metadata = ''): string {
  return `
---
apiVersion: loam.dev/v1
kind: TrafficPolicy
metadata: {name: ${name}, namespace: shop${metadata}}
spec: {${spec}}
`;
}

const PAYMENTS = 'targetRefs: [{kind: Service, name: payments}]';

function objectsOf(yaml: string): KubeObject[] {
  return readManifest('m.yaml', yaml).map((document) => {
    assert(document.type === 'object', JSON.stringify(document));
    return document.object;
  });
}

function compile(yaml: string): CompiledMesh {
  const assignments = { pods: {}, services: {} };
  return compileMesh({ objects: objectsOf(yaml), assignments, clusterId: 'Kubernetes', ...OPTIONS });
}

const resources = (mesh: CompiledMesh): string[] => [...(mesh.waypoints.get('shop/waypoint')?.keys() ?? [])];

function resource(mesh: CompiledMesh, name: string) {
  const found = mesh.waypoints.get('shop/waypoint')?.get(name);
  assert(found !== undefined, `no ${name} among ${resources(mesh).join(', ')}`);
  return fromBinary(ResourceSchema, found.bytes).kind;
}

/** `traffic_policy` of a Service's resource. */
function policyOf(mesh: CompiledMesh, key: string): string {
  const kind = resource(mesh, `service/${key}.svc.cluster.local`);
  assert(kind.case === 'service');
  return kind.value.trafficPolicy;
}

function outcome(mesh: CompiledMesh, name: string): Outcome {
  const found = mesh.outcomes.get(`TrafficPolicy/shop/${name}`);
  assert(found !== undefined, `nothing is said of ${name}`);
  return found;
}

const PAYMENTS_KEY = 'shop/payments.shop';

describe('TrafficPolicies of a waypoint', () => {
  it('are attached to the Service that they name, and said to be in force', () => {
    const mesh = compile(MESH + policy('p', `${PAYMENTS}, timeouts: {request: 2s}`));
    assert.equal(policyOf(mesh, PAYMENTS_KEY), 'shop/p');
    const kind = resource(mesh, 'traffic/shop/p');
    assert(kind.case === 'trafficPolicy');
    assert.equal(kind.value.timeouts?.request, 2000);
    assert.deepEqual(outcome(mesh, 'p'), {
      state: 'accepted',
      message: '',
      compiledTo: ['Waypoint shop/waypoint traffic/shop/p'],
      conditions: [
        {
          parent: 'Service shop/payments',
          type: 'Accepted',
          status: 'True',
          reason: 'Accepted',
          message: '',
        },
      ],
    });
  });

  it('are not sent where nothing names them', () => {
    const mesh = compile(MESH);
    assert.equal(policyOf(mesh, PAYMENTS_KEY), '');
    assert.deepEqual(
      resources(mesh).filter((name) => name.startsWith('traffic/')),
      [],
    );
  });

  it('wait for a target that is missing, and for a waypoint', () => {
    const mesh = compile(
      MESH +
        policy('gone', 'targetRefs: [{kind: Service, name: paymens}], timeouts: {}') +
        policy('bare', 'targetRefs: [{kind: Service, name: standby}], timeouts: {}') +
        policy(
          'route',
          'targetRefs: [{group: gateway.networking.k8s.io, kind: GRPCRoute, name: r}], timeouts: {}',
        ),
    );
    const expected = [
      ['gone', 'TargetNotFound', /there is no Service shop\/paymens/],
      ['bare', 'Pending', /Service shop\/standby: no waypoint stands before it/],
      ['route', 'TargetNotFound', /there is no GRPCRoute shop\/r/],
    ] as const;
    for (const [name, reason, message] of expected) {
      const { state, compiledTo, conditions, message: text } = outcome(mesh, name);
      assert.equal(state, 'pending', name);
      assert.match(text, message);
      assert.deepEqual(compiledTo, []);
      assert.deepEqual(
        conditions?.map((condition) => [condition.type, condition.status, condition.reason]),
        [['Accepted', 'False', reason]],
      );
    }
  });

  it('say why the waypoint of a Service cannot be used', () => {
    const yaml = MESH.replace('kind: Gateway', 'kind: Service').replace(
      /spec: \{gatewayClassName.*/,
      'spec: {clusterIP: None}',
    );
    const text = outcome(
      compile(yaml.replace('gateway.networking.k8s.io/v1', 'v1') + policy('p', `${PAYMENTS}, timeouts: {}`)),
      'p',
    );
    assert.equal(text.state, 'pending');
    assert.match(text.message, /there is no Gateway shop\/waypoint/);
  });
});

describe('two TrafficPolicies for one target', () => {
  const at = (time: string): string => `, creationTimestamp: "${time}"`;
  const cases = [
    ['the older', at('2026-01-02T00:00:00Z'), at('2026-01-01T00:00:00Z'), 'b'],
    ['the first by name of the same age', at('2026-01-01T00:00:00Z'), at('2026-01-01T00:00:00Z'), 'a'],
    ['the first by name where none has a time', '', '', 'a'],
    ['the one that has a time', '', at('2026-01-01T00:00:00Z'), 'b'],
  ] as const;
  for (const [what, timeA, timeB, winner] of cases) {
    it(`lets ${what} win, in whatever order they come`, () => {
      const a = policy('a', `${PAYMENTS}, timeouts: {request: 1s}`, timeA);
      const b = policy('b', `${PAYMENTS}, retries: {}`, timeB);
      for (const mesh of [compile(MESH + a + b), compile(MESH + b + a)]) {
        const loser = winner === 'a' ? 'b' : 'a';
        assert.equal(policyOf(mesh, PAYMENTS_KEY), `shop/${winner}`);
        assert(!resources(mesh).includes(`traffic/shop/${loser}`));
        assert.equal(outcome(mesh, winner).state, 'accepted');
        const lost = outcome(mesh, loser);
        assert.equal(lost.state, 'pending');
        assert.match(lost.message, new RegExp(`Conflicted .*TrafficPolicy shop/${winner}`));
        assert.equal(lost.conditions?.[0]?.reason, 'Conflicted');
      }
    });
  }

  it('leaves the loser in force at its other targets', () => {
    const both =
      'targetRefs: [{kind: Service, name: payments}, {kind: Service, name: standby}], timeouts: {}';
    const mesh = compile(
      MESH.replace('name: standby, namespace: shop', '$&, labels: {loam.dev/use-waypoint: waypoint}') +
        policy('a', `${PAYMENTS}, timeouts: {}`) +
        policy('b', both),
    );
    assert.equal(policyOf(mesh, PAYMENTS_KEY), 'shop/a');
    assert.equal(policyOf(mesh, 'shop/standby.shop'), 'shop/b');
    assert.equal(outcome(mesh, 'b').state, 'pending');
    assert.deepEqual(outcome(mesh, 'b').compiledTo, ['Waypoint shop/waypoint traffic/shop/b']);
  });
});

describe('the fallback of a TrafficPolicy', () => {
  const to = (fields: string): string => policy('p', `${PAYMENTS}, fallback: {${fields}}`);
  const fallback = (mesh: CompiledMesh) => {
    const kind = resource(mesh, 'traffic/shop/p');
    assert(kind.case === 'trafficPolicy' && kind.value.fallback !== undefined);
    return kind.value.fallback;
  };
  const SPARE = 'service: spare, namespace: other, port: 80';
  const grant = (from: string, target: string, namespace = 'other'): string => `
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: ${namespace}}
spec: {from: [${from}], to: [${target}]}
`;
  const FROM = '{group: loam.dev, kind: TrafficPolicy, namespace: shop}';

  it('brings its Service to the waypoint as one that is not served', () => {
    const mesh = compile(
      MESH +
        to('service: standby, port: 80') +
        policy(
          's',
          'targetRefs: [{kind: Service, name: standby}], circuitBreaker: {maxRequests: 9}, retries: {}',
        ),
    );
    assert.equal(fallback(mesh).service, 'shop/standby.shop.svc.cluster.local');
    const kind = resource(mesh, 'service/shop/standby.shop.svc.cluster.local');
    assert(kind.case === 'service');
    assert.equal(kind.value.served, false);
    // The policy of the Service that answers protects its endpoints; what it says of requests is for those who dial it.
    assert.equal(kind.value.trafficPolicy, 'shop/s');
    assert(resources(mesh).includes('traffic/shop/s'));
    assert.equal(outcome(mesh, 's').state, 'accepted');
    assert.match(outcome(mesh, 's').message, /^retries does not apply to Service shop\/standby/);
  });

  it('is told as wrong where its Service or port is missing, and the rest holds', () => {
    const cases = [
      ['service: nobody, port: 80', /there is no Service shop\/nobody/],
      ['service: standby, port: 81', /has no port 81/],
    ] as const;
    for (const [fields, message] of cases) {
      const mesh = compile(MESH + policy('p', `${PAYMENTS}, retries: {}, fallback: {${fields}}`));
      assert.equal(fallback(mesh).service, '');
      assert.match(fallback(mesh).invalid, message);
      assert.equal(policyOf(mesh, PAYMENTS_KEY), 'shop/p');
      const { state, message: text, conditions } = outcome(mesh, 'p');
      assert.equal(state, 'accepted');
      assert.match(text, message);
      assert(conditions?.some(({ type, reason }) => type === 'ResolvedRefs' && reason === 'BackendNotFound'));
    }
  });

  it('needs a ReferenceGrant in another namespace', () => {
    const mesh = compile(MESH + to(SPARE) + grant(FROM, '{group: "", kind: Service}'));
    assert.equal(fallback(mesh).service, 'other/spare.other.svc.cluster.local');
    assert.equal(fallback(mesh).invalid, '');
    assert(resources(mesh).includes('service/other/spare.other.svc.cluster.local'));
  });

  const REFUSED: readonly (readonly [what: string, yaml: string])[] = [
    ['there is none', ''],
    [
      'it is for another kind',
      grant(FROM.replace('TrafficPolicy', 'HTTPRoute'), '{group: "", kind: Service}'),
    ],
    ['it is for another group', grant(FROM.replace('loam.dev', 'x.dev'), '{group: "", kind: Service}')],
    ['it is for another namespace', grant(FROM.replace('shop', 'bank'), '{group: "", kind: Service}')],
    ['it permits another Service', grant(FROM, '{group: "", kind: Service, name: spare-2}')],
    ['it permits another kind', grant(FROM, '{group: "", kind: Secret}')],
    ['it stands with him who asks', grant(FROM, '{group: "", kind: Service}', 'shop')],
  ];
  for (const [what, yaml] of REFUSED) {
    it(`is not permitted where ${what}`, () => {
      const mesh = compile(MESH + to(SPARE) + yaml);
      assert.equal(fallback(mesh).service, '');
      assert.match(fallback(mesh).invalid, /no ReferenceGrant in namespace other/);
      assert(!resources(mesh).some((name) => name.includes('spare')));
      assert.equal(outcome(mesh, 'p').conditions?.[0]?.reason, 'RefNotPermitted');
    });
  }

  it('does not tell whether a Service exists to which it may not send', () => {
    const { invalid } = fallback(compile(MESH + to('service: nobody, namespace: other, port: 80')));
    assert.match(invalid, /no ReferenceGrant/);
  });
});

describe('the TrafficPolicy of a route', () => {
  const spec = 'targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: checkout}]';

  it('is named by the route and sent with its fallback', () => {
    const world = makeWorld(
      group(objectsOf(MESH + ROUTE + policy('r', `${spec}, fallback: {service: standby, port: 80}`))),
      OPTIONS,
    );
    const policies = new TrafficPolicies(world);
    const [waypoint] = world.waypoints.values();
    const [route] = world.objects.routes;
    assert(waypoint !== undefined && route !== undefined);
    const part = policies.forWaypoint(waypoint);
    assert.deepEqual([part.backends(), [...part.resources().keys()]], [[], []]);
    assert.equal(part.forRoute(route), 'shop/r');
    assert.deepEqual([part.backends(), [...part.resources().keys()]], [['shop/standby'], ['traffic/shop/r']]);
    const outcomes = new Outcomes();
    policies.settle(outcomes);
    const [found] = outcomes.all().values();
    assert.equal(found?.state, 'accepted');
    assert.deepEqual(found.compiledTo, ['Waypoint shop/waypoint traffic/shop/r']);
  });

  it('waits where no waypoint carries the route', () => {
    const world = makeWorld(group(objectsOf(MESH + ROUTE + policy('r', `${spec}, timeouts: {}`))), OPTIONS);
    const outcomes = new Outcomes();
    new TrafficPolicies(world).settle(outcomes);
    const [found] = outcomes.all().values();
    assert.equal(found?.state, 'pending');
    assert.match(found.message, /no waypoint carries it/);
  });
});

describe('the example of TrafficPolicy', () => {
  it('puts its policies before their Services', () => {
    const url = join(packageRoot(), 'deploy/examples/traffic-policy.yaml');
    const addresses = { 'bank/accounts': '10.0.0.1', 'bank/accounts-readonly': '10.0.0.2' };
    const services = Object.fromEntries(
      Object.entries(addresses).map(([name, ip]) => [name, { clusterIPs: [ip] }]),
    );
    const mesh = compileMesh({
      objects: objectsOf(readFileSync(url, 'utf8')),
      assignments: { pods: {}, services },
      clusterId: 'Kubernetes',
      ...OPTIONS,
    });
    for (const name of ['accounts', 'accounts-readonly']) {
      const label = `Waypoint bank/waypoint traffic/bank/${name}`;
      const found = mesh.outcomes.get(`TrafficPolicy/bank/${name}`);
      assert.deepEqual([found?.state, found?.message, found?.compiledTo], ['accepted', '', [label]]);
      const bytes = mesh.waypoints
        .get('bank/waypoint')
        ?.get(`service/bank/${name}.bank.svc.cluster.local`)?.bytes;
      const { kind } = fromBinary(ResourceSchema, bytes ?? new Uint8Array());
      assert(kind.case === 'service');
      assert.equal(kind.value.trafficPolicy, `bank/${name}`);
    }
  });
});

describe('an edit that breaks a TrafficPolicy', () => {
  const context = OPTIONS;
  const file = (spec: string) => ({
    file: 'm.yaml',
    documents: readManifest('m.yaml', MESH + policy('p', `${PAYMENTS}, ${spec}`)),
  });

  it('leaves the last good one in force', () => {
    const before = accept([file('retries: {attempts: 4}')], new Map(), context);
    const after = accept(
      [file('retries: {attempts: 40}')],
      new Map<string, HeldObject>(before.objects),
      context,
    );
    const held = after.objects.get('TrafficPolicy/shop/p');
    assert.equal(held?.lastGood, true);
    assert(held.object.kind === 'TrafficPolicy');
    assert.equal(held.object.spec.retries?.attempts, 4);
    const error = after.problems.find(({ field }) => field === 'spec.retries.attempts');
    assert.equal(error?.value, '40');
  });

  it('has nothing to leave where it was never good', () => {
    const { objects, problems } = accept([file('retries: {attempts: 40}')], new Map(), context);
    assert.equal(objects.has('TrafficPolicy/shop/p'), false);
    assert(problems.some(({ severity, field }) => severity === 'error' && field === 'spec.retries.attempts'));
  });
});
