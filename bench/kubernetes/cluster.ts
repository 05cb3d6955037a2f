/** The API server of a large cluster, in a process of its own, for bench/kubernetes/main.ts and controller.ts. */
import { READ_KINDS } from '../../controller/sources/kubernetes/kinds.ts';
import { FakeKubeApi, type FakeObject } from '../../test/support/fake-kube-api.ts';
import { NAMESPACES } from './cluster-size.ts';
import { StandIn } from './stand-in.ts';

const NODES = 100;
const [services = 10_000, pods = 20_000] = process.argv.slice(2).map(Number);

const api = await FakeKubeApi.start();
api.serve(...READ_KINDS.map(({ path }) => path));
const put = <T extends FakeObject>(kind: string, object: T): void =>
  api.put(READ_KINDS.find((each) => each.kind === kind)?.path ?? '', object);

for (let n = 0; n < NAMESPACES; n += 1) {
  put('Namespace', { metadata: { name: `ns-${n}`, labels: { 'loam.dev/dataplane-mode': 'ambient' } } });
  put('ServiceAccount', { metadata: { name: 'default', namespace: `ns-${n}` } });
}
for (let s = 0; s < services; s += 1) put('Service', service(s));
for (let p = 0; p < pods; p += 1) put('Pod', pod(p, 'v1'));
const standIn = new StandIn();
api.answer = (method, path, body) => standIn.answer(method, path, body);
process.send?.({ access: api.access });

/** Each `change` changes one pod: its label `version` becomes `changed-<n>`; `root` asks for the mesh's root certificate. */
let changes = 0;
process.on('message', (what) => {
  if (what === 'root') {
    process.send?.({ root: standIn.secret('loam-ca', 'root-cert.pem') });
    return;
  }
  changes += 1;
  put('Pod', pod(changes % pods, `changed-${changes}`));
  process.send?.({ changed: `changed-${changes}`, atMs: performance.timeOrigin + performance.now() });
});
process.on('disconnect', () => process.exit());

function service(s: number) {
  const namespace = `ns-${s % NAMESPACES}`;
  const ip = `10.${128 + (s >> 16)}.${(s >> 8) & 255}.${s & 255}`;
  return {
    metadata: { name: `svc-${s}`, namespace, ...noise('service') },
    spec: {
      clusterIP: ip,
      clusterIPs: [ip],
      selector: { app: `app-${s}` },
      ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 'http' }],
      type: 'ClusterIP',
      sessionAffinity: 'None',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
    },
    status: { loadBalancer: {} },
  };
}

function pod(p: number, version: string) {
  const s = p % services;
  const namespace = `ns-${s % NAMESPACES}`;
  const ip = `10.${p >> 16}.${(p >> 8) & 255}.${p & 255}`;
  return {
    metadata: {
      name: `app-${s}-7d4b9c-${p}`,
      namespace,
      labels: { app: `app-${s}`, version, 'pod-template-hash': '7d4b9c' },
      ownerReferences: [{ kind: 'ReplicaSet', name: `app-${s}-7d4b9c`, uid: `rs-${s}`, controller: true }],
      ...noise('pod'),
    },
    spec: {
      nodeName: `node-${p % NODES}`,
      serviceAccountName: 'default',
      containers: [
        {
          name: 'main',
          image: 'registry.example/app:1',
          ports: [{ name: 'http', containerPort: 8080 }],
          ...env(),
        },
      ],
      tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' }],
    },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
        type,
        status: 'True',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      })),
    },
  };
}

function env() {
  return {
    env: Array.from({ length: 15 }, (_, i) => ({ name: `SETTING_${i}`, value: `value of setting ${i}` })),
  };
}

/** As much again as an API server keeps of who wrote which field. */
function noise(what: string) {
  const fields = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`f:${what}-field-${i}`, {}]));
  return {
    managedFields: [
      { manager: 'kube-controller-manager', operation: 'Update', fieldsV1: { 'f:spec': fields } },
    ],
  };
}
