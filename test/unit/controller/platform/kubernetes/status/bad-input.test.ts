import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parseAllDocuments } from 'yaml';
import { compileMesh, type CompiledMesh } from '../../../../../../controller/compile/mesh.ts';
import { refOf } from '../../../../../../controller/model/objects.ts';
import type { WrittenCondition } from '../../../../../../controller/platform/kubernetes/status/desired.ts';
import { statusOf } from '../../../../../../controller/platform/kubernetes/status/of-object.ts';
import { accept, type ReadFile } from '../../../../../../controller/sources/accept.ts';
import { READ_KINDS } from '../../../../../../controller/sources/kubernetes/kinds.ts';
import { pick } from '../../../../../../controller/sources/kubernetes/pick.ts';
import { readPicked } from '../../../../../../controller/sources/kubernetes/read.ts';
import { reportObjects } from '../../../../../../controller/status/report.ts';
import type { KubeResource } from '../../../../../../lib/kubernetes/resource.ts';
import type { KubeObject } from '../../../../../../controller/model/objects.ts';

const MESH = { rootNamespace: 'loam-system', trustDomain: 'cluster.local', platform: 'kubernetes' } as const;
const GENERATION = 7;

const SHOP = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {loam.dev/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec: {nodeName: node-a, containers: [{name: main, image: any}]}
status: {podIP: 198.18.0.3, podIPs: [{ip: 198.18.0.3}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 198.19.0.5, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop, labels: {loam.dev/use-waypoint: way}}
spec: {clusterIP: 198.19.0.6, selector: {app: api}, ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: way, namespace: shop}
spec: {gatewayClassName: loam-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: fine, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}
`;

interface Result {
  readonly mesh: CompiledMesh;
  readonly policies: readonly string[];
  readonly status: (kind: string, name: string) => Record<string, unknown> | undefined;
}

/** What becomes of objects that an API server has admitted: compiled, and as their status says. */
function admitted(yaml: string): Result {
  const resources = parseAllDocuments(SHOP + yaml).map(
    (document) => document.toJS() as KubeResource & { kind: string },
  );
  const files = resources.map((resource): ReadFile => {
    const kind = READ_KINDS.find((each) => each.kind === resource.kind);
    assert(kind !== undefined, resource.kind);
    return readPicked(kind, refOf(resource as unknown as KubeObject), pick(kind, resource));
  });
  const { objects, problems } = accept(files, new Map(), MESH);
  const mesh = compileMesh({
    objects: [...objects.values()].map(({ object }) => object),
    assignments: {
      pods: {},
      services: {},
      gateways: { 'shop/way': { clusterIPs: ['198.19.0.9'], instances: [] } },
    },
    clusterId: 'Kubernetes',
    ...MESH,
  });
  const reports = reportObjects({ generation: 1, objects, problems, files: [] }, mesh.outcomes);
  return {
    mesh,
    policies: [...mesh.authorizations.keys()].sort(),
    status: (kind, name) => {
      const resource = resources.find((each) => each.kind === kind && each.metadata.name === name);
      const report = reports.find((each) => each.kind === kind && each.name === name);
      assert(resource !== undefined && report !== undefined, `${kind} ${name}`);
      const input = { status: {}, generation: GENERATION, report, now: '2026-01-01T00:00:00Z' };
      return statusOf(resource as unknown as KubeObject, {}, input);
    },
  };
}

function condition(conditions: unknown, type: string): string {
  const found = (conditions as WrittenCondition[]).find((each) => each.type === type);
  if (found === undefined) return 'none';
  assert.equal(found.observedGeneration, GENERATION);
  return `${found.status} ${found.reason}: ${found.message}`;
}

function ofPolicy({ status }: Result, kind: string, name: string): [accepted: string, enforced: string] {
  const conditions = status(kind, name)?.['conditions'];
  return [condition(conditions, 'Accepted'), condition(conditions, 'Enforced')];
}

function ofRoute({ status }: Result, name: string, type: string): string {
  const [parent] = status('HTTPRoute', name)?.['parents'] as { conditions: unknown }[];
  return condition(parent?.conditions, type);
}

function authorization(name: string, spec: string): string {
  return `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: shop}
spec: ${spec}
`;
}

function route(
  name: string,
  backendRefs: string,
  parent = '{kind: Service, group: "", name: api, port: 80}',
): string {
  return `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}, namespace: shop}
spec: {parentRefs: [${parent}], rules: [{backendRefs: [${backendRefs}]}]}
`;
}

describe('status of objects that make no sense', () => {
  it('says of what is right that all of it holds', () => {
    assert.deepEqual(ofPolicy(admitted(''), 'AuthorizationPolicy', 'fine'), [
      'True Accepted: ',
      'True Enforced: allows by 1 rule',
    ]);
  });

  it('names the target that is not there, and keeps the policy in force at the others', () => {
    const none = admitted(
      authorization(
        'closed',
        '{targetRefs: [{kind: Service, group: "", name: wep}], action: DENY, rules: [{}]}',
      ),
    );
    const [accepted, enforced] = ofPolicy(none, 'AuthorizationPolicy', 'closed');
    assert.match(
      accepted,
      /^False TargetNotFound: there is no Service "wep" in namespace shop; did you mean "web"/,
    );
    assert.match(enforced, /^False NotInForce/);
    const one = admitted(
      authorization(
        'closed',
        '{targetRefs: [{kind: Service, group: "", name: gone}, {kind: Service, group: "", name: web}], action: DENY, rules: [{}]}',
      ),
    );
    assert(one.policies.includes('shop/closed'));
    assert.match(
      ofPolicy(one, 'AuthorizationPolicy', 'closed')[0],
      /^False TargetNotFound: there is no Service shop\/gone/,
    );
  });

  it('says which rules need a waypoint that is not there: an ALLOW never matches, a DENY always', () => {
    const result = admitted(
      authorization(
        'reads',
        '{selector: {matchLabels: {app: web}}, rules: [{to: [{operation: {methods: [GET]}}]}]}',
      ) +
        authorization(
          'writes',
          '{selector: {matchLabels: {app: web}}, action: DENY, rules: [{to: [{operation: {methods: [PUT]}}]}]}',
        ) +
        authorization('audit', '{selector: {matchLabels: {app: web}}, action: AUDIT, rules: [{}]}'),
    );
    assert.match(
      ofPolicy(result, 'AuthorizationPolicy', 'reads')[1],
      /^False RequiresWaypoint: .*treated as not matching.*rules\[0\]\.to\[0\]\.operation\.methods/,
    );
    assert.match(
      ofPolicy(result, 'AuthorizationPolicy', 'writes')[1],
      /^False RequiresWaypoint: .*treated as matching/,
    );
    assert.match(ofPolicy(result, 'AuthorizationPolicy', 'audit')[1], /^False RequiresWaypoint: AUDIT/);
  });

  it('puts something strict in the place of a policy that cannot be read, and says what', () => {
    const broken = authorization(
      'typo',
      '{selector: {matchLabels: {app: web}}, rules: [{form: [{source: {namespaces: [x]}}]}]}',
    );
    const result = admitted(broken);
    const [accepted, enforced] = ofPolicy(result, 'AuthorizationPolicy', 'typo');
    assert.match(accepted, /^False Invalid: .*did you mean "from"/);
    assert.match(enforced, /^False StricterInForce: .*allows nothing/);
    assert(result.policies.includes('shop/typo'));
  });

  it('says of two PeerAuthentications for one scope which one counts', () => {
    const peer = (name: string, created: string, mode: string): string => `---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: ${name}, namespace: shop, creationTimestamp: '${created}'}
spec: {mtls: {mode: ${mode}}}
`;
    const result = admitted(
      peer('older', '2026-01-01T00:00:00Z', 'STRICT') + peer('younger', '2026-01-02T00:00:00Z', 'PERMISSIVE'),
    );
    assert.match(ofPolicy(result, 'PeerAuthentication', 'younger')[0], /^False Conflicted: .*older is older/);
    assert.deepEqual(ofPolicy(result, 'PeerAuthentication', 'older'), [
      'True Accepted: ',
      'True Enforced: plaintext is denied',
    ]);
  });

  it('says of tokens that nobody checks them without a waypoint', () => {
    const tokens = (name: string, spec: string): string => `---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: ${name}, namespace: shop}
spec: {${spec}jwtRules: [{issuer: me, jwksUri: 'https://me.example/keys'}]}
`;
    const result = admitted(
      tokens('everywhere', '') +
        tokens('bare', 'targetRefs: [{kind: Service, group: "", name: web}], ') +
        tokens('served', 'targetRefs: [{kind: Service, group: "", name: api}], '),
    );
    for (const name of ['everywhere', 'bare'])
      assert.match(ofPolicy(result, 'RequestAuthentication', name)[1], /^False RequiresWaypoint/);
    assert.match(
      ofPolicy(result, 'RequestAuthentication', 'served')[1],
      /^True Enforced: waypoint shop\/way verifies/,
    );
  });

  it('says of a route what is wrong with its references, by the reasons of the Gateway API', () => {
    const result = admitted(
      route('dangling', '{name: gone, port: 80}') +
        route('foreign', '{name: web, namespace: other, port: 80}') +
        route('no-port', '{name: web, port: 81}') +
        route('no-parent', '{name: web, port: 80}', '{kind: Service, group: "", name: gone}') +
        route('no-waypoint', '{name: web, port: 80}', '{kind: Service, group: "", name: web}') +
        route('fine', '{name: web, port: 80, weight: 0}'),
    );
    assert.match(
      ofRoute(result, 'dangling', 'ResolvedRefs'),
      /^False BackendNotFound: there is no Service shop\/gone/,
    );
    assert.match(ofRoute(result, 'foreign', 'ResolvedRefs'), /^False RefNotPermitted/);
    assert.match(
      ofRoute(result, 'no-port', 'ResolvedRefs'),
      /^False BackendNotFound: Service shop\/web has no TCP port 81/,
    );
    assert.match(ofRoute(result, 'no-parent', 'Accepted'), /^False NoMatchingParent/);
    assert.match(ofRoute(result, 'no-waypoint', 'Accepted'), /^False Pending: .*no waypoint/);
    assert.match(ofRoute(result, 'fine', 'Accepted'), /^True Accepted/);
    // What is wrong with some takes nothing from the others.
    assert(result.policies.includes('shop/fine'));
  });
});
