/** What the cluster must be like, installed or not. */
import type { V1ConfigMap, V1DaemonSet, V1Lease, V1Namespace, V1Node } from '@kubernetes/client-node';
import { errorText } from '../../../lib/loam-error.ts';
import { collectionPath } from '../cluster/kinds.ts';
import { definitions, isOwn } from '../crds.ts';
import { objectPath } from '../cluster/kinds.ts';
import { fail, note, pass, type Finding } from './finding.ts';
import type { CheckSubject } from './subject.ts';

const LEAST_MINOR = 30;
/** docs/kernels.md */
const LEAST_KERNEL = [6, 1] as const;
/** The kubelet writes its lease every ten seconds; the API server's answer takes its time as well. */
const MAX_AHEAD_MS = 5_000;
const MAX_BEHIND_MS = 90_000;

/** Whether the API server answers, and is new enough. When it does not, nothing else can be asked. */
export async function checkServer({ api }: CheckSubject): Promise<Finding> {
  let version: { major: string; minor: string; gitVersion: string };
  try {
    version = await api.get('/version');
  } catch (error) {
    return fail('API server', errorText(error), 'see that kubectl reaches it: kubectl version');
  }
  const minor = Number.parseInt(version.minor, 10);
  if (Number(version.major) > 1 || minor >= LEAST_MINOR) return pass('API server', version.gitVersion);
  return fail('API server', `is ${version.gitVersion}`, `Loam needs Kubernetes 1.${LEAST_MINOR} or newer`);
}

interface Right {
  readonly group: string;
  readonly resource: string;
  readonly verb: string;
  readonly namespaced: boolean;
}

const APPLIED: readonly (readonly [group: string, resource: string, namespaced: boolean])[] = [
  ['', 'namespaces', false],
  ['apiextensions.k8s.io', 'customresourcedefinitions', false],
  ['rbac.authorization.k8s.io', 'clusterroles', false],
  ['rbac.authorization.k8s.io', 'clusterrolebindings', false],
  ['gateway.networking.k8s.io', 'gatewayclasses', false],
  ['rbac.authorization.k8s.io', 'roles', true],
  ['rbac.authorization.k8s.io', 'rolebindings', true],
  ['apps', 'daemonsets', true],
  ['apps', 'deployments', true],
  ['policy', 'poddisruptionbudgets', true],
  ['', 'configmaps', true],
  ['', 'serviceaccounts', true],
  ['', 'services', true],
];

/** Whether the user may make what an installation consists of. */
export async function checkRights({ api, namespace }: CheckSubject): Promise<Finding> {
  const rights = APPLIED.flatMap(([group, resource, namespaced]) =>
    ['create', 'patch', 'delete'].map((verb): Right => ({ group, resource, verb, namespaced })),
  );
  const missing = (
    await Promise.all(
      rights.map(async ({ group, resource, verb, namespaced }) => {
        const answer = await api.create<{ status?: { allowed?: boolean } }>(
          '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
          {
            apiVersion: 'authorization.k8s.io/v1',
            kind: 'SelfSubjectAccessReview',
            spec: { resourceAttributes: { group, resource, verb, ...(namespaced ? { namespace } : {}) } },
          },
        );
        return answer.status?.allowed === true ? [] : [`${verb} ${resource}`];
      }),
    )
  ).flat();
  if (missing.length === 0) return pass('rights', 'you may install, upgrade and uninstall');
  return fail(
    'rights',
    `you may not ${missing.slice(0, 6).join(', ')}${missing.length > 6 ? ` and ${missing.length - 6} more` : ''}`,
    'use the kubeconfig of an administrator, or have the role cluster-admin bound to you',
  );
}

/** Whether each definition that an installation brings is served; before an installation, what of it is there. */
export async function checkDefinitions({ api, installed }: CheckSubject): Promise<Finding[]> {
  const missing: string[] = [];
  const unserved: string[] = [];
  for (const definition of definitions()) {
    const found = await api.find<{
      spec?: { versions?: readonly { name: string; served: boolean; schema?: unknown }[] };
      status?: { conditions?: readonly { type: string; status: string; message?: string }[] };
    }>(objectPath(definition));
    const { name } = definition.metadata;
    if (found === undefined) {
      if (installed !== undefined || isOwn(definition)) missing.push(name);
      continue;
    }
    const served = new Set(
      (found.spec?.versions ?? []).filter((each) => each.served).map((each) => each.name),
    );
    const wanted = definition.spec.versions.filter((each) => each.served).map((each) => each.name);
    if (!wanted.some((version) => served.has(version)))
      unserved.push(`${name} serves ${[...served].join(', ')}, and not ${wanted.join(' or ')}`);
    // Of a standard's kind another may have brought another version, which is fit as well.
    const unknown = isOwn(definition) ? missingFields(definition.spec.versions, found.spec?.versions) : [];
    if (unknown.length > 0)
      unserved.push(
        `${name} is of an older version: it does not know ${unknown.slice(0, 3).join(', ')}${unknown.length > 3 ? ` and ${unknown.length - 3} more` : ''}, and drops such fields`,
      );
    const refused = found.status?.conditions?.find(
      ({ type, status }) => type === 'Established' && status !== 'True',
    );
    if (refused !== undefined) unserved.push(`${name}: ${refused.message ?? 'is not established'}`);
  }
  if (installed === undefined && missing.length > 0 && unserved.length === 0)
    return [note('kinds', 'an installation brings the definitions that are missing')];
  const mend = 'apply the definitions of deploy/crds: kubectl apply --server-side -R -f deploy/crds';
  if (missing.length > 0)
    return [
      fail('kinds', `there is no ${missing.join(', ')}`, mend),
      ...unserved.map((text) => fail('kinds', text, mend)),
    ];
  if (unserved.length > 0) return unserved.map((text) => fail('kinds', text, mend));
  return [pass('kinds', 'all are defined and served')];
}

/** Fields that the schemas of ours have and those of the cluster have not. */
function missingFields(ours: readonly unknown[], theirs: readonly unknown[] = []): string[] {
  const known = new Set(fieldsOf(theirs));
  return [...new Set(fieldsOf(ours))].filter((field) => !known.has(field));
}

/** Paths of all properties in a schema, or in a list of versions with schemas. */
function fieldsOf(schema: unknown, path = ''): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  if (Array.isArray(schema)) return schema.flatMap((each) => fieldsOf(each, path));
  return Object.entries(schema as Readonly<Record<string, unknown>>).flatMap(([key, value]) =>
    key === 'properties' && typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([name, inner]) => {
          const at = path === '' ? name : `${path}.${name}`;
          return [at, ...fieldsOf(inner, at)];
        })
      : fieldsOf(value, path),
  );
}

/** Kernel, runtime and clock of each node, as its kubelet tells them. */
export async function checkNodes({ api, now }: CheckSubject): Promise<Finding[]> {
  const nodes = await api.list<V1Node>(collectionPath('v1/Node'));
  const leases = await api.list<V1Lease>(collectionPath('coordination.k8s.io/v1/Lease', 'kube-node-lease'));
  const findings: Finding[] = [];
  let good = 0;
  for (const { metadata, status } of nodes) {
    const name = metadata?.name ?? '';
    const what = `node ${name}`;
    const before = findings.length;
    const info = status?.nodeInfo;
    if (info?.operatingSystem !== undefined && info.operatingSystem !== 'linux') {
      findings.push(note(what, `runs ${info.operatingSystem}: its pods stay outside of the mesh`));
      continue;
    }
    const ready = status?.conditions?.find(({ type }) => type === 'Ready');
    if (ready?.status !== 'True')
      findings.push(
        fail(
          what,
          `is not ready: ${ready?.message ?? 'its kubelet says nothing'}`,
          `look at its kubelet: kubectl describe node ${name}`,
        ),
      );
    if (!isKernel(info?.kernelVersion))
      findings.push(
        fail(
          what,
          `has kernel ${info?.kernelVersion ?? '(unknown)'}`,
          `Loam needs ${LEAST_KERNEL.join('.')} or newer: docs/kernels.md`,
        ),
      );
    const lease = leases.find(({ metadata: of }) => of?.name === name)?.spec?.renewTime as unknown as
      string | undefined;
    if (lease !== undefined && ready?.status === 'True') {
      const behind = now() - Date.parse(lease);
      if (behind < -MAX_AHEAD_MS || behind > MAX_BEHIND_MS)
        findings.push(
          fail(
            what,
            `its clock differs from this machine's by about ${Math.round(Math.abs(behind) / 1000)} s`,
            'set the clocks, for example by NTP: certificates are not valid before they are made',
          ),
        );
    }
    if (findings.length === before) good += 1;
  }
  if (nodes.length === 0)
    findings.push(fail('nodes', 'there is none', 'join one to the cluster: kubectl get nodes'));
  if (good > 0)
    findings.unshift(
      pass('nodes', `${good} of ${nodes.length} are ready, with a kernel and a clock that will do`),
    );
  return findings;
}

function isKernel(release: string | undefined): boolean {
  const [major = 0, minor = 0] = (release ?? '').split('.').map((part) => Number.parseInt(part, 10));
  return major > LEAST_KERNEL[0] || (major === LEAST_KERNEL[0] && minor >= LEAST_KERNEL[1]);
}

const ISTIO_LABELS = ['istio.io/dataplane-mode', 'istio-injection', 'istio.io/rev'];
const OURS_LABEL = 'loam.dev/dataplane-mode';

/** Others that redirect pods' connections: what Loam and they do to the same pod cannot both be. */
export async function checkOthers({ api }: CheckSubject): Promise<Finding[]> {
  const findings: Finding[] = [];
  const daemonSets = await api.list<V1DaemonSet>(collectionPath('apps/v1/DaemonSet'));
  const istio = daemonSets.find(({ metadata }) => metadata?.name === 'istio-cni-node');
  const namespaces = await api.list<V1Namespace>(collectionPath('v1/Namespace'));
  for (const { metadata } of namespaces) {
    const labels = metadata?.labels ?? {};
    if (labels[OURS_LABEL] !== 'ambient') continue;
    const theirs = ISTIO_LABELS.filter(
      (label) => labels[label] !== undefined && !['none', 'disabled'].includes(labels[label]),
    );
    if (theirs.length === 0) continue;
    findings.push(
      fail(
        `namespace ${metadata?.name ?? ''}`,
        `is labelled for Loam and for Istio (${theirs.join(', ')})`,
        `take one away: kubectl label namespace ${metadata?.name ?? ''} ${theirs[0] ?? ''}-`,
      ),
    );
  }
  if (istio !== undefined)
    findings.push(
      note(
        'other mesh',
        `Istio's CNI runs in ${istio.metadata?.namespace ?? ''}: a namespace may be in one mesh only`,
      ),
    );
  const cilium = await api.find<V1ConfigMap>(
    `${collectionPath('v1/ConfigMap', 'kube-system')}/cilium-config`,
  );
  const data = cilium?.data ?? {};
  const everywhere = data['bpf-lb-sock-hostns-only'] !== 'true';
  if (everywhere && (data['bpf-lb-sock'] === 'true' || data['kube-proxy-replacement'] === 'true'))
    findings.push(
      fail(
        'other hooks',
        "Cilium balances at the sockets of pods: it turns a Service's address into a pod's before Loam sees it",
        'set socketLB.hostNamespaceOnly=true in Cilium',
      ),
    );
  if (findings.length === 0) findings.push(pass('other meshes', 'nothing else is in the way'));
  return findings;
}
