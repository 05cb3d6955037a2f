/** What an installation must be like: its programs, their rights, the leader, the root certificate. */
import { X509Certificate } from 'node:crypto';
import type { V1ConfigMap, V1Lease, V1Node, V1Pod } from '@kubernetes/client-node';
import { isDeepStrictEqual } from 'node:util';
import { collectionPath, objectPath, objectText } from '../cluster/kinds.ts';
import { PodReasons, reasonOf } from '../cluster/pod-reasons.ts';
import { CLEANUP_NAME } from '../render/cleanup.ts';
import { nameOf, selectorOf, type Manifest } from '../render/manifest.ts';
import { objectsOf } from '../render/objects.ts';
import { ROOT_CONFIG_MAP } from '../render/programs.ts';
import { ownVersion } from '../../version.ts';
import { valuesOf } from '../values.ts';
import { differences } from './differences.ts';
import { fail, pass, type Finding } from './finding.ts';
import type { CheckSubject } from './subject.ts';

/** Of one object, how many changed fields are told. */
const MAX_TOLD = 3;
const LEASE = 'loam-controller-leader';
const DAY_MS = 24 * 3600 * 1000;
const SOON_DAYS = 30;

type Program = 'controller' | 'agent' | 'ztunnel';

/** The pods of a program. */
export async function podsOf(
  { api, namespace }: { readonly api: Pick<CheckSubject['api'], 'list'>; readonly namespace: string },
  program: Program,
): Promise<V1Pod[]> {
  const labelSelector = Object.entries(selectorOf(program))
    .map(([key, value]) => `${key}=${value}`)
    .join();
  const pods = await api.list<V1Pod>(collectionPath('v1/Pod', namespace), { labelSelector });
  return pods.filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
}

/** Whether the objects of the installation are there, and what they grant is what is needed. */
export async function checkObjects(subject: CheckSubject): Promise<Finding[]> {
  const { api, namespace, installed } = subject;
  const upgrade = installed?.by === 'helm' ? 'helm upgrade' : 'loam upgrade';
  const again = `bring it back: ${upgrade}`;
  const wanted = objectsOf({ namespace, values: valuesOf([installed?.values ?? {}]) });
  const findings: Finding[] = [];
  const cleanup = `${collectionPath('apps/v1/DaemonSet', namespace)}/${CLEANUP_NAME}`;
  if ((await api.find(cleanup)) !== undefined)
    findings.push(
      fail(
        'uninstall',
        `was begun and not ended: DaemonSet ${CLEANUP_NAME} takes nodes out of the mesh, and policy does not hold there`,
        `end it, loam uninstall, or take it back: kubectl delete daemonset ${CLEANUP_NAME} --namespace ${namespace}, then ${upgrade}`,
      ),
    );
  const isSameVersion = installed?.version === ownVersion();
  if (!isSameVersion)
    findings.push(
      fail(
        'version',
        `was installed by ${installed?.version ?? 'an older Loam'}, and this is ${ownVersion()}`,
        `bring it to this one, ${upgrade}, or check it with its own`,
      ),
    );
  for (const object of wanted) {
    const found = await api.find<Manifest & { readonly spec?: unknown }>(objectPath(object));
    if (found === undefined) findings.push(fail(objectText(object), 'is gone', again));
    else if (!isDeepStrictEqual(rightsOf(found), rightsOf(object)))
      findings.push(fail(objectText(object), 'was changed: it grants something else than Loam needs', again));
    else if (isSameVersion)
      for (const text of differences((object as { spec?: unknown }).spec, found.spec, 'spec').slice(
        0,
        MAX_TOLD,
      ))
        findings.push(fail(objectText(object), `was changed: ${text}`, again));
  }
  if (findings.length === 0) findings.push(pass('objects', `all ${wanted.length} are there`));
  return findings;
}

/** What an object grants, whatever else others have written into it. */
function rightsOf(object: object): unknown {
  const { rules, subjects, roleRef } = object as { rules?: unknown; subjects?: object[]; roleRef?: unknown };
  return JSON.parse(
    JSON.stringify({
      rules,
      roleRef,
      subjects: subjects?.map(({ ...each }) => ({ ...each, apiGroup: undefined })),
    }),
  ) as unknown;
}

/** Whether controllers run, and one of them leads. */
export async function checkControllers(subject: CheckSubject): Promise<Finding[]> {
  const { api, namespace, now } = subject;
  const pods = await podsOf(subject, 'controller');
  const findings = await programFindings(subject, 'controller', pods, []);
  const ready = pods.filter((pod) => reasonOf(pod) === undefined);
  if (ready.length > 0) findings.unshift(pass('controllers', `${ready.length} ready`));
  else if (pods.length === 0)
    findings.push(
      fail('controllers', 'there is none', `kubectl describe replicasets --namespace ${namespace}`),
    );
  const lease = await api.find<V1Lease>(
    `${collectionPath('coordination.k8s.io/v1/Lease', namespace)}/${LEASE}`,
  );
  const holder = lease?.spec?.holderIdentity;
  const renewed = Date.parse((lease?.spec?.renewTime as unknown as string | undefined) ?? '');
  const lasts = (lease?.spec?.leaseDurationSeconds ?? 15) * 1000;
  const logs = `kubectl logs --namespace ${namespace} deployment/${nameOf('controller')}`;
  if (holder === undefined || holder === '')
    findings.push(
      fail('leader', 'no controller leads: no status, no waypoint and no root certificate is written', logs),
    );
  else if (!(now() - renewed < 2 * lasts))
    findings.push(
      fail(
        'leader',
        `${holder} led, and has not renewed that since ${new Date(renewed).toISOString()}`,
        logs,
      ),
    );
  else findings.push(pass('leader', holder));
  return findings;
}

/** Whether each node has an agent and a ztunnel that are ready. */
export async function checkNodePrograms(subject: CheckSubject): Promise<Finding[]> {
  const nodes = (await subject.api.list<V1Node>(collectionPath('v1/Node')))
    .filter(({ metadata }) => metadata?.labels?.['kubernetes.io/os'] === 'linux')
    .map(({ metadata }) => metadata?.name ?? '');
  if (nodes.length === 0)
    return [
      fail(
        'programs on nodes',
        'there is no node that they may run on',
        'nodes with Linux have the label kubernetes.io/os=linux: kubectl get nodes --show-labels',
      ),
    ];
  const findings: Finding[] = [];
  for (const program of ['agent', 'ztunnel'] as const) {
    const pods = await podsOf(subject, program);
    const problems = await programFindings(subject, program, pods, nodes);
    if (problems.length === 0) findings.push(pass(`${program}s`, `ready on all ${nodes.length} nodes`));
    findings.push(...problems);
  }
  return findings;
}

async function programFindings(
  { api, pods: asker, namespace, installed }: CheckSubject,
  program: Program,
  pods: readonly V1Pod[],
  nodes: readonly string[],
): Promise<Finding[]> {
  const reasons = new PodReasons(api, asker);
  const isWhole = installed !== undefined;
  const findings: Finding[] = [];
  const covered = new Set<string>();
  for (const pod of pods) {
    const node = pod.spec?.nodeName ?? '';
    const name = pod.metadata?.name ?? '';
    const reason = await reasons.of(pod);
    covered.add(node);
    if (reason !== undefined) {
      findings.push(
        fail(`${program} ${name}${node === '' ? '' : ` on ${node}`}`, reason, mendOf(reason, pod, isWhole)),
      );
    }
  }
  for (const node of nodes.filter((each) => !covered.has(each)))
    findings.push(
      fail(
        `node ${node}`,
        `has no ${program}`,
        `kubectl describe daemonset --namespace ${namespace} ${nameOf(program)}: is it kept from the node, or has the node no room?`,
      ),
    );
  return findings;
}

/** @param isWhole false: the installation was interrupted, and only another one changes it */
function mendOf(reason: string, { metadata, spec }: V1Pod, isWhole: boolean): string {
  const of = `--namespace ${metadata?.namespace ?? ''} ${metadata?.name ?? ''}`;
  if (/^(ErrImage|ImagePull|InvalidImage|ErrImageNeverPull)/.test(reason))
    return `see that the nodes can get the image ${spec?.containers[0]?.image ?? ''}, or give another: loam ${isWhole ? 'upgrade' : 'install'} --set image=…`;
  if (reason.startsWith('not scheduled'))
    return `make room, or change the nodes that it may run on: kubectl describe pod ${of}`;
  if (reason.startsWith('CrashLoopBackOff')) return `it says why: kubectl logs --previous ${of}`;
  return `kubectl describe pod ${of}; kubectl logs ${of}`;
}

/** Whether the root certificate that ztunnels trust is there and lasts. */
export async function checkRoot({ api, namespace, now }: CheckSubject): Promise<Finding> {
  const what = 'root certificate';
  const path = `${collectionPath('v1/ConfigMap', namespace)}/${ROOT_CONFIG_MAP}`;
  const pem = (await api.find<V1ConfigMap>(path))?.data?.['root-cert.pem'];
  if (pem === undefined)
    return fail(
      what,
      `there is no ConfigMap ${ROOT_CONFIG_MAP}`,
      'the leading controller writes it: see the lines above about controllers',
    );
  const certificates = (
    pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  ).flatMap((text) => {
    try {
      return [new X509Certificate(text)];
    } catch {
      return [];
    }
  });
  const ends = certificates.map(({ validTo }) => Date.parse(validTo));
  const mend = `put a new root in Secret loam-ca beside the former, or delete the Secret to have one made: all identities are signed anew`;
  if (ends.length === 0) return fail(what, `ConfigMap ${ROOT_CONFIG_MAP} holds no certificate`, mend);
  const last = Math.max(...ends);
  const date = new Date(last).toISOString().slice(0, 10);
  if (last < now()) return fail(what, `ended on ${date}`, mend);
  if (last < now() + SOON_DAYS * DAY_MS) return fail(what, `ends on ${date}`, mend);
  return pass(what, `lasts until ${date}`);
}
