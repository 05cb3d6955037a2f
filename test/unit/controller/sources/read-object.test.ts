import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { readManifest, type ReadDocument } from '../../../../controller/sources/read-object.ts';
import type { Problem } from '../../../../controller/sources/source.ts';

function one(yaml: string): ReadDocument {
  const [document, ...more] = readManifest('f.yaml', yaml);
  assert(document !== undefined && more.length === 0);
  return document;
}

function problemOf(yaml: string): Problem {
  const document = one(yaml);
  assert(document.type === 'bad', JSON.stringify(document));
  const [problem] = document.problems;
  assert(problem !== undefined);
  return problem;
}

const POLICY =
  'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: n}\n';
const PEER =
  'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: n}\n';
const SERVICE = 'apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: n}\n';

/** A Pod as people write it, with much that the mesh does not use. */
const ORDINARY_POD = `
apiVersion: v1
kind: Pod
metadata:
  name: web-0
  namespace: n
  labels: {app.kubernetes.io/name: web}
  annotations: {local.loam.dev/command.main: "node server.js"}
  creationTimestamp: null
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: x, controller: true, blockOwnerDeletion: true}]
spec:
  serviceAccountName: web
  terminationGracePeriodSeconds: 5
  securityContext: {runAsNonRoot: true, fsGroup: 1, seccompProfile: {type: RuntimeDefault}}
  initContainers: [{name: init, image: busybox, command: [sh, -c, "true"], restartPolicy: Always}]
  containers:
  - name: main
    image: nginx:1
    args: ["-g"]
    env: [{name: A, value: b}, {name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    envFrom: [{configMapRef: {name: c}}]
    ports: [{name: http, containerPort: 80, protocol: TCP}]
    resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 1}}
    readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 2}
    livenessProbe: {tcpSocket: {port: 80}}
    lifecycle: {preStop: {exec: {command: [sleep, "1"]}}}
    volumeMounts: [{name: v, mountPath: /v, readOnly: true}]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  volumes: [{name: v, emptyDir: {}}, {name: c, configMap: {name: c}}, {name: p, projected: {sources: []}}]
  affinity: {podAntiAffinity: {}}
  tolerations: [{key: a, operator: Exists, effect: NoSchedule}]
  topologySpreadConstraints: [{maxSkew: 1}]
  nodeSelector: {kubernetes.io/os: linux}
  dnsConfig: {options: [{name: ndots, value: "1"}]}
status: {phase: Running, podIP: 198.18.0.1, podIPs: [{ip: 198.18.0.1}], qosClass: Burstable, conditions: [{type: Ready, status: "True", lastTransitionTime: now}]}
`;

describe('sources/read-object', () => {
  it('accepts an ordinary Pod', () => {
    const document = one(ORDINARY_POD);
    assert.equal(document.type, 'object', JSON.stringify(document));
  });

  it('reads many documents, comments and JSON', () => {
    const json = '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}';
    const read = readManifest(
      'f.yaml',
      `# first\n---\n${json}\n---\n# nothing\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n`,
    );
    assert.deepEqual(
      read.map((d) => (d.type === 'object' ? [d.object.metadata.name, d.line] : d.type)),
      [
        ['a', 3],
        ['b', 7],
      ],
    );
  });

  it('names field, value, line and what is allowed', () => {
    const problem = problemOf(
      `${POLICY}spec:\n  action: DENY\n  rules:\n  - from:\n    - source:\n        ipBlocks: ["10.0.0.0/8", "10.0.0/33"]\n`,
    );
    assert.deepEqual(
      [problem.field, problem.value, problem.line, problem.file, problem.object],
      [
        'spec.rules[0].from[0].source.ipBlocks[1]',
        '"10.0.0/33"',
        9,
        'f.yaml',
        { kind: 'AuthorizationPolicy', namespace: 'n', name: 'p' },
      ],
    );
    assert.match(problem.allowed ?? '', /CIDR/);
  });

  it('says what was found also to readers of the message alone', () => {
    assert.match(problemOf(`${POLICY}spec: {action: DENI}`).message, /^"DENI" is not allowed/);
    assert.match(problemOf(`${PEER}spec: {mtls: {mode: STRIKT}}`).message, /^"STRIKT" is not allowed/);
    assert.match(problemOf(`${SERVICE}spec: {ports: {}}`).message, /^\{\} has the wrong type/);
  });

  it('names what a document is about although its name is wrong', () => {
    const problem = problemOf('apiVersion: v1\nkind: Namespace\nmetadata: {name: Bad_Name}\n');
    assert.deepEqual(
      [problem.object, problem.about, problem.field, problem.value],
      [undefined, 'Namespace "Bad_Name"', 'metadata.name', '"Bad_Name"'],
    );
    const unknown = one(`apiVersion: v1\nkind: ${'x'.repeat(500)}\nmetadata: {}\n`);
    assert(unknown.type === 'ignored' && (unknown.problem.about ?? '').length < 200);
  });

  it('says which apiVersion a kind has', () => {
    const missing = (text: string): Problem => problemOf(text.replace(/apiVersion: .*\n/, ''));
    assert.deepEqual([missing(SERVICE).message, missing(SERVICE).allowed], ['apiVersion is missing', 'v1']);
    assert.equal(missing(POLICY).allowed, 'security.istio.io/v1, security.istio.io/v1beta1');
    assert.match(missing('kind: Deployment\n').allowed ?? '', /^v1, discovery\.k8s\.io\/v1, security/);
    assert.match(problemOf('apiVersion: v1\n').allowed ?? '', /^Namespace, ServiceAccount/);
  });

  it('ends no message in the middle of a sentence', () => {
    assert.match(problemOf('a: [').message, /^not valid YAML: .*[^:\s]$/);
    assert.match(problemOf('a: b: c').message, /^not valid YAML: .*[^:\s]; a value .* needs quotes$/);
  });

  const refused: readonly [what: string, yaml: string, field: string, message: RegExp][] = [
    ['an unknown field', `${POLICY}spec: {selectors: {}}`, 'spec.selectors', /did you mean "selector"\?/],
    [
      'a misspelt Pod field',
      ORDINARY_POD.replace('serviceAccountName', 'serviceAcountName'),
      'spec.serviceAcountName',
      /did you mean "serviceAccountName"\?/,
    ],
    ['action CUSTOM', `${POLICY}spec: {action: CUSTOM}`, 'spec.action', /not allowed/],
    [
      'an unquoted port',
      `${POLICY}spec: {rules: [{to: [{operation: {ports: [80]}}]}]}`,
      'spec.rules[0].to[0].operation.ports[0]',
      /wrong type/,
    ],
    [
      'port 0',
      `${POLICY}spec: {rules: [{to: [{operation: {ports: ["0"]}}]}]}`,
      'spec.rules[0].to[0].operation.ports[0]',
      /not allowed/,
    ],
    [
      'a principal with spiffe://',
      `${POLICY}spec: {rules: [{from: [{source: {principals: ["spiffe://a/ns/b/sa/c"]}}]}]}`,
      'spec.rules[0].from[0].source.principals[0]',
      /not allowed/,
    ],
    [
      'a star in the middle',
      `${POLICY}spec: {rules: [{from: [{source: {principals: ["a*b"]}}]}]}`,
      'spec.rules[0].from[0].source.principals[0]',
      /not allowed/,
    ],
    [
      'an empty source',
      `${POLICY}spec: {rules: [{from: [{source: {}}]}]}`,
      'spec.rules[0].from[0].source',
      /empty/,
    ],
    ['an empty list', `${POLICY}spec: {rules: [{from: []}]}`, 'spec.rules[0].from', /empty/],
    ['from without content', `${POLICY}spec: {rules: [{from: }]}`, 'spec.rules[0].from', /wrong type/],
    [
      'an unknown attribute',
      `${POLICY}spec: {rules: [{when: [{key: source.ipp, values: [a]}]}]}`,
      'spec.rules[0].when[0].key',
      /did you mean "source\.ip"/,
    ],
    [
      'a wrong attribute value',
      `${POLICY}spec: {rules: [{when: [{key: destination.port, values: [http]}]}]}`,
      'spec.rules[0].when[0].values[0]',
      /not allowed/,
    ],
    [
      'a wrong label',
      `${POLICY}spec: {selector: {matchLabels: {app: "a b"}}}`,
      'spec.selector.matchLabels.app',
      /not allowed/,
    ],
    [
      'a wrong label key',
      `${POLICY}spec: {selector: {matchLabels: {"a b": c}}}`,
      'spec.selector.matchLabels["a b"]',
      /not allowed/,
    ],
    [
      'ports without selector',
      `${PEER}spec: {portLevelMtls: {80: {mode: STRICT}}}`,
      'spec.portLevelMtls',
      /selector/,
    ],
    [
      'a misspelt dataplane mode',
      'apiVersion: v1\nkind: Namespace\nmetadata: {name: n, labels: {loam.dev/dataplane-mode: ambeint}}',
      'metadata.labels["loam.dev/dataplane-mode"]',
      /not allowed ambient, observe, none/,
    ],
    [
      'a misspelt label of our own',
      ORDINARY_POD.replace('app.kubernetes.io/name: web', 'loam.dev/dataplane-mod: ambient'),
      'metadata.labels["loam.dev/dataplane-mod"]',
      /did you mean "loam\.dev\/dataplane-mode"/,
    ],
    [
      'a misspelt guard',
      ORDINARY_POD.replace('annotations: {', 'annotations: {loam.dev/guard: "off", '),
      'metadata.annotations["loam.dev/guard"]',
      /not allowed on, none/,
    ],
    ['a list', 'apiVersion: v1\nkind: List\nitems: []', 'kind', /list is not read/],
    ['a list of one kind', 'apiVersion: v1\nkind: ServiceList\nitems: []', 'kind', /list is not read/],
    [
      'a misspelt target kind',
      `${POLICY}spec: {targetRefs: [{kind: service, name: s}]}`,
      'spec.targetRefs[0].kind',
      /not allowed in group "" Service/,
    ],
    [
      'an unknown target group',
      `${POLICY}spec: {targetRef: {kind: Gateway, group: gateway.io, name: s}}`,
      'spec.targetRef.group',
      /gateway\.networking\.k8s\.io/,
    ],
    [
      'a target of another namespace',
      `${POLICY}spec: {targetRefs: [{kind: Service, name: s, namespace: m}]}`,
      'spec.targetRefs[0].namespace',
      /its own namespace/,
    ],
    ['a wrong mode', `${PEER}spec: {mtls: {mode: STRIKT}}`, 'spec.mtls.mode', /did you mean "STRICT"\?/],
    ['a wrong apiVersion', PEER.replace('istio.io/v1', 'istio.io/v2'), 'apiVersion', /not allowed/],
    [
      'a security kind that is not known',
      PEER.replace('PeerAuthentication', 'SecurityProfile'),
      'kind',
      /unknown kind/,
    ],
    [
      'two ports of one name',
      `${SERVICE}spec: {ports: [{name: a, port: 1}, {name: a, port: 2}]}`,
      'spec.ports[1]',
      /twice/,
    ],
    [
      'several ports without name',
      `${SERVICE}spec: {ports: [{port: 1}, {name: a, port: 2}]}`,
      'spec.ports[0]',
      /name/,
    ],
    ['a port that is too large', `${SERVICE}spec: {ports: [{port: 65536}]}`, 'spec.ports[0].port', /65535/],
    ['a field that occurs twice', `${POLICY}spec: {action: ALLOW}\nspec: {action: DENY}`, '', /occurs twice/],
    ['__proto__', `${POLICY}spec: {__proto__: {action: ALLOW}}`, 'spec.__proto__', /unknown field/],
  ];
  for (const [what, yaml, field, message] of refused) {
    it(`refuses ${what}`, () => {
      const problem = problemOf(yaml);
      assert.equal(problem.field ?? '', field);
      assert.match(`${problem.message} ${problem.allowed ?? ''}`, message);
    });
  }

  it('passes over kinds that are not its own with a warning', () => {
    const document = one('apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n');
    assert(document.type === 'ignored' && document.problem.severity === 'warning');
  });

  describe('hostile input', () => {
    const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 12; i += 1)
      bomb.push(
        `a${i}: &a${i} [${Array(9)
          .fill(`*a${i - 1}`)
          .join(', ')}]`,
      );
    const cases: Record<string, string> = {
      'an alias bomb': bomb.join('\n'),
      'deep brackets': `a: ${'['.repeat(200_000)}`,
      'deep indentation': Array.from({ length: 1200 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
      'a hundred thousand keys': Array.from({ length: 100_000 }, (_, i) => `k${i}: 1`).join('\n'),
      'a map as key': '? {a: b}\n: c',
      'an unknown tag': 'a: !!js/function "function () {}"',
      'an anchor to itself': 'a: &a [*a]',
      'a long word': `${POLICY}${'x'.repeat(100_000)}: 1`,
    };
    for (const [what, yaml] of Object.entries(cases)) {
      it(`survives ${what}`, () => {
        const read = readManifest('f.yaml', yaml);
        assert(read.length > 0 && read.every(({ type }) => type === 'bad'));
      });
    }
  });
});
