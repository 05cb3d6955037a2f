import assert from 'node:assert/strict';
import { compileMesh, type CompiledMesh } from '../../../controller/compile/mesh.ts';
import type { AuthorizationPolicy, KubeObject } from '../../../controller/model/objects.ts';
import { readManifest } from '../../../controller/sources/read-object.ts';
import { evaluate } from '../../../lib/mesh/policy/evaluate.ts';
import { decodePolicy } from '../../../lib/mesh/state/decode.ts';
import { PolicyStore } from '../../../lib/mesh/state/policy-store.ts';
import type { RequestHead } from '../../../lib/mesh/waypoint/request.ts';
import { Authorizer } from '../../../lib/mesh/waypoint/security/authorizer.ts';
import { compilePolicy } from '../../../lib/mesh/waypoint/security/compile-policy.ts';
import { decodeResource } from '../../../waypoint/state/decode-resource.ts';
import { SHOP, serviceYaml } from '../../unit/controller/compile/waypoints/world.ts';
import { head } from '../../unit/lib/mesh/waypoint/security/heads.ts';
import { mutateLines } from '../engine/mutate.ts';
import type { FuzzTarget } from '../engine/target.ts';

const HEAD =
  'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n';
/** Of the parts of a rule, one of each. */
const RULE = `rules:
- from:
  - source:
      principals: ["cluster.local/ns/shop/sa/frontend", "*"]
      notNamespaces: ["db"]
      ipBlocks: ["10.0.0.0/8"]
  - source:
      serviceAccounts: ["frontend", "shop/web"]
      notIpBlocks: ["10.0.0.6"]
      remoteIpBlocks: ["198.51.100.0/24"]
  to:
  - operation:
      ports: ["80"]
      methods: ["GET", "P*"]
      paths: ["/a/{*}/b", "/x*"]
  - operation:
      notPorts: ["81"]
      notMethods: ["DELETE"]
      hosts: ["pay.shop"]
      notPaths: ["/admin*"]
  when:
  - key: source.namespace
    values: ["shop"]
  - key: request.headers[x-a]
    notValues: ["1"]
  - key: request.auth.claims[iss]
    values: ["*"]
`;

const WORLD = readManifest('world.yaml', `${SHOP}---${serviceYaml('plain')}`).flatMap((document) =>
  document.type === 'object' ? [document.object] : [],
);

/** The spec of an AuthorizationPolicy, compiled for nodes and for a waypoint; both are asked about the same requests. */
export const target: FuzzTarget = {
  name: 'policy',
  mutate: mutateLines,
  maxLength: 3_072,
  seeds: ['ALLOW', 'DENY', 'AUDIT'].flatMap((action) => [
    `action: ${action}\n`,
    `action: ${action}\nrules: [{}]\n`,
    `action: ${action}\n${RULE}`,
    ...partsOf(RULE).map((part) => `action: ${action}\nrules:\n${part}`),
  ]),
  words: [
    'notPrincipals:',
    'requestPrincipals: ["*"]',
    'notRequestPrincipals:',
    'key: destination.port',
    'key: source.principal',
    'key: remote.ip',
    'key: connection.sni',
    'key: request.auth.audiences',
    'key: destination.ip',
    '"cluster.local*"',
    '"*/sa/frontend"',
    'action: DENY',
    '"0.0.0.0/0"',
    '"::/0"',
    '"::ffff:10.0.0.5"',
    '[]',
    '{}',
    'null',
  ],
  run(input) {
    const text = HEAD + input.toString('latin1').replace(/^/gm, '  ');
    const [document, ...more] = readManifest('fuzz.yaml', text);
    if (document?.type !== 'object' || document.object.kind !== 'AuthorizationPolicy' || more.length > 0)
      return;
    const policy = document.object;
    // Whom it is attached to is tested elsewhere; here, what it means.
    const { selector: _s, targetRef: _r, targetRefs: _rs, ...spec } = policy.spec ?? {};
    const nodes = atNodes({ ...policy, spec });
    const waypoint = atWaypoint({ ...policy, spec });
    const action = spec.action ?? 'ALLOW';
    for (const request of REQUESTS) {
      const l7 = waypoint.evaluate(request);
      if (action === 'AUDIT') {
        assert.equal(l7.verdict, 'allow', 'AUDIT denies nothing');
        continue;
      }
      const l4 = nodes(request);
      // L4 sees less. It may deny what the whole request would have allowed, never the other way round.
      if (l7.verdict === 'deny')
        assert.equal(l4, 'deny', `nodes admit what ${action} denies: ${show(request)}`);
      if (!seesL7(spec)) assert.equal(l4, l7.verdict, `nodes and waypoints differ: ${show(request)}`);
    }
  },
};

const REQUESTS: readonly RequestHead[] = [
  head(),
  head({ method: 'POST', path: '/a/1/b', headers: { 'x-a': '1' } }),
  head({ path: '/admin', authority: 'other', port: 81 }),
  head({
    source: { ...head().source, ip: '198.18.0.1', identity: account('db', 'api') },
    remoteIp: '203.0.113.1',
  }),
  head({ source: { ...head().source, ip: '10.0.0.6', identity: account('shop', 'web') } }),
  head({
    jwt: {
      principal: 'https://i/alice',
      audiences: ['web'],
      presenter: 'p',
      claims: { iss: 'https://i', groups: ['a'] },
    },
  }),
];

function account(namespace: string, serviceAccount: string) {
  return { trustDomain: 'cluster.local', namespace, serviceAccount };
}

function compile(objects: readonly KubeObject[]): CompiledMesh {
  return compileMesh({
    objects,
    assignments: { pods: {}, services: {} },
    clusterId: 'Kubernetes',
    trustDomain: 'cluster.local',
    rootNamespace: 'istio-system',
  });
}

function atNodes(policy: AuthorizationPolicy): (request: RequestHead) => 'allow' | 'deny' | 'wait' {
  const bytes = compile([policy]).authorizations.get('shop/p')?.bytes;
  const store = new PolicyStore();
  if (bytes !== undefined) {
    const { policy: decoded, errors } = decodePolicy('shop/p', bytes);
    assert.deepEqual(errors, [], 'what was accepted must be understood');
    store.upsert(decoded);
  }
  return ({ source, destinationIp, port }) =>
    evaluate(
      store,
      { namespace: 'shop', authorizationPolicies: [] },
      { sourceIdentity: source.identity, sourceIp: source.ip, destIp: destinationIp, destPort: port },
    ).verdict;
}

function atWaypoint(policy: AuthorizationPolicy): Authorizer {
  const targetRefs = [{ group: '', kind: 'Service', name: 'payments' }];
  const mesh = compile([...WORLD, { ...policy, spec: { ...policy.spec, targetRefs } }]);
  const name = 'authorization/shop/p';
  const bytes = mesh.waypoints.get('shop/waypoint')?.get(name)?.bytes;
  assert.ok(bytes !== undefined, 'the waypoint gets it');
  const { kind } = decodeResource(name, bytes).value.resource;
  assert.equal(kind.case, 'authorization');
  const compiled = compilePolicy(kind.value);
  assert.equal(compiled.unsupported, undefined, 'what was accepted can be enforced');
  return new Authorizer([compiled]);
}

const L7 =
  /"(?:not)?(?:requestPrincipals|remoteIpBlocks|hosts|methods|paths)"|"(?:request\.|remote\.|connection\.)/i;

function seesL7(spec: object): boolean {
  return L7.test(JSON.stringify(spec));
}

function show({ method, path, source, port }: RequestHead): string {
  return `${method} ${path} of ${source.identity?.serviceAccount ?? ''} at ${source.ip} to port ${port}`;
}

/** `from`, `to` and `when` of a rule, each alone. */
function partsOf(rule: string): string[] {
  return ['from', 'to', 'when'].map((part) => {
    const start = rule.indexOf(`  ${part}:`) >= 0 ? rule.indexOf(`  ${part}:`) : rule.indexOf(`- ${part}:`);
    const rest = rule.slice(start + 2);
    const end = rest.search(/\n {2}(?:to|when):/);
    return `- ${end < 0 ? rest : rest.slice(0, end + 1)}`;
  });
}
