import type {
  V1DaemonSet,
  V1PolicyRule,
  V1ServiceAccount,
  V1Volume,
  V1VolumeMount,
} from '@kubernetes/client-node';
import { clusterRole } from './controller-rbac.ts';
import { meta, nameOf, podLabels, selectorOf, type Installation, type Manifest } from './manifest.ts';
import { commandOf, container, flags, onNode, pullSecrets, RUN_FOLDER } from './programs.ts';

const NAME = 'agent';
/** Names the agent's programs, maps and pins in the kernels of the cluster's nodes. */
export const AGENT_INSTANCE = 'loam';
export const AGENT_STATUS = `${RUN_FOLDER}/agent.sock`;
/** Where the agent hands pods to ztunnel. */
export const ZDS_SOCKET = `${RUN_FOLDER}/ztunnel.sock`;

/** For what each is, and which test fails without it, tells docs/capabilities.md. */
export const CAPABILITIES = ['NET_ADMIN', 'SYS_ADMIN', 'SYS_PTRACE'];

/** Where the nodes have their network plugins. */
export interface CniFolders {
  readonly confFolder: string;
  readonly binFolder: string;
}

interface HostFolder {
  readonly name: string;
  readonly path: string;
  readonly type: 'Directory' | 'DirectoryOrCreate';
  readonly readOnly?: true;
}

const HOST_FOLDERS: readonly HostFolder[] = [
  { name: 'run', path: RUN_FOLDER, type: 'DirectoryOrCreate' },
  { name: 'bpffs', path: '/sys/fs/bpf', type: 'Directory' },
  { name: 'cgroup', path: '/sys/fs/cgroup', type: 'Directory', readOnly: true },
  { name: 'nri', path: '/var/run/nri', type: 'DirectoryOrCreate' },
];
/** Volumes with the nodes' network plugins. */
export const CNI_VOLUMES = { conf: 'cni-conf', bin: 'cni-bin' } as const;

function hostFolders({ confFolder, binFolder }: CniFolders): readonly HostFolder[] {
  return [
    ...HOST_FOLDERS,
    { name: CNI_VOLUMES.conf, path: confFolder, type: 'DirectoryOrCreate' },
    { name: CNI_VOLUMES.bin, path: binFolder, type: 'DirectoryOrCreate' },
  ];
}

/** Flags by which the agent finds the nodes' network plugins. */
export function cniFlags({ confFolder, binFolder }: CniFolders): Record<string, string> {
  return { 'cni-conf': confFolder, 'cni-bin': binFolder };
}

const RULES: readonly V1PolicyRule[] = [
  { apiGroups: [''], resources: ['namespaces', 'pods'], verbs: ['get', 'list', 'watch'] },
  { apiGroups: [''], resources: ['events'], verbs: ['create', 'patch'] },
];

/** The agents with their account and role. */
export function agent(installation: Installation): Manifest[] {
  return [
    account(installation),
    ...clusterRole(NAME, installation.namespace, RULES),
    daemonSet(installation),
  ];
}

function account({ namespace }: Installation): Manifest & V1ServiceAccount {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta(NAME, namespace) };
}

function daemonSet({ namespace, values }: Installation): Manifest & V1DaemonSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: meta(NAME, namespace),
    spec: {
      selector: { matchLabels: selectorOf(NAME) },
      // No surge: a second agent of the same instance refuses to start. What is enrolled stays so while one is away.
      updateStrategy: {
        type: 'RollingUpdate',
        rollingUpdate: { maxSurge: 0, maxUnavailable: values.agent.maxUnavailable },
      },
      template: {
        metadata: { labels: podLabels(NAME) },
        spec: {
          serviceAccountName: nameOf(NAME),
          priorityClassName: 'system-node-critical',
          ...pullSecrets(values),
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          tolerations: [{ operator: 'Exists' }],
          hostNetwork: true,
          hostPID: true,
          dnsPolicy: 'ClusterFirstWithHostNet',
          terminationGracePeriodSeconds: 10,
          containers: [
            {
              ...container(NAME, values),
              args: flags({
                instance: AGENT_INSTANCE,
                node: '$(NODE_NAME)',
                zds: ZDS_SOCKET,
                status: AGENT_STATUS,
                cni: values.cni.mode,
                ...cniFlags(values.cni),
                // While there is no agent, the mesh's own pods and the cluster's start all the same.
                'cni-exempt': ['kube-system', namespace].join(),
                'log-level': values.logLevel,
              }),
              env: [
                {
                  name: 'NODE_NAME',
                  valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'spec.nodeName' } },
                },
              ],
              readinessProbe: {
                exec: { command: [...commandOf('agent/ready-probe'), AGENT_STATUS] },
                periodSeconds: 5,
                timeoutSeconds: 5,
              },
              resources: values.agent.resources,
              securityContext: onNode(CAPABILITIES),
              volumeMounts: hostMounts(values.cni),
            },
          ],
          volumes: hostVolumes(values.cni),
        },
      },
    },
  };
}

/** What the node mounts there later is seen here as well. */
export function hostMounts(cni: CniFolders): V1VolumeMount[] {
  return hostFolders(cni).map(({ name, path, readOnly }) => ({
    name,
    mountPath: path,
    mountPropagation: 'HostToContainer',
    ...(readOnly === true ? { readOnly } : {}),
  }));
}

export function hostVolumes(cni: CniFolders): V1Volume[] {
  return hostFolders(cni).map(({ name, path, type }) => ({ name, hostPath: { path, type } }));
}
