import type { V1DaemonSet } from '@kubernetes/client-node';
import { AGENT_INSTANCE, CAPABILITIES, cniFlags, hostMounts, hostVolumes, type CniFolders } from './agent.ts';
import { PART_OF, type Manifest } from './manifest.ts';
import { commandOf, flags, onNode } from './programs.ts';

export const CLEANUP_NAME = 'loam-cleanup';
export const CLEANUP_SELECTOR = { 'app.kubernetes.io/name': CLEANUP_NAME } as const;

/** As the agents are started that are to be cleaned up after. */
export interface CleanupImage {
  readonly image: string;
  readonly imagePullPolicy: string;
  readonly imagePullSecrets: readonly { readonly name?: string }[];
  readonly cni: CniFolders;
}

/** A pod that is ready is a node that is clean, so the pods stay until they are told to go. */
const STAY = 'setInterval(() => {}, 2 ** 30)';

/** The agent's `--cleanup-step`. */
export type CleanupStep = 'takes-plaintext' | 'plain' | 'remove';
/** Says of a pod which step it took. */
export const STEP_LABEL = 'app.kubernetes.io/component';

/**
 * On every node, takes everything out of the kernel that the agent there put into it, or prepares that. It is refused while an agent
 * runs there, and needs none: pins in the BPF file system are all that it works on.
 */
export function cleanup(namespace: string, from: CleanupImage, step: CleanupStep): Manifest & V1DaemonSet {
  const { image, imagePullPolicy } = from;
  const labels = { ...CLEANUP_SELECTOR, ...PART_OF };
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: CLEANUP_NAME, namespace, labels },
    spec: {
      selector: { matchLabels: CLEANUP_SELECTOR },
      // All nodes at once: a pod without the mesh cannot call one that wants mutual TLS.
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 0, maxUnavailable: '100%' } },
      template: {
        metadata: { labels: { ...labels, [STEP_LABEL]: step, 'loam.dev/dataplane-mode': 'none' } },
        spec: {
          automountServiceAccountToken: false,
          priorityClassName: 'system-node-critical',
          imagePullSecrets: [...from.imagePullSecrets],
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          tolerations: [{ operator: 'Exists' }],
          hostNetwork: true,
          hostPID: true,
          terminationGracePeriodSeconds: 1,
          initContainers: [
            {
              name: 'cleanup',
              image,
              imagePullPolicy,
              command: commandOf('agent/main'),
              args: [
                '--cleanup',
                ...flags({
                  instance: AGENT_INSTANCE,
                  'cleanup-step': step,
                  ...cniFlags(from.cni),
                }),
              ],
              terminationMessagePolicy: 'FallbackToLogsOnError',
              securityContext: onNode(CAPABILITIES),
              volumeMounts: hostMounts(from.cni),
            },
          ],
          containers: [
            {
              name: 'clean',
              image,
              imagePullPolicy,
              command: ['/usr/local/bin/node', '--disable-sigusr1', '-e', STAY],
              securityContext: onNode([]),
            },
          ],
          volumes: hostVolumes(from.cni),
        },
      },
    },
  };
}
