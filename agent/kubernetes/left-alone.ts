/** Pods that their labels would have in the mesh and that cannot be: they are left as they are, and that is said. */
import type { FoundNetns } from './netns-finder.ts';
import type { NodePod } from './node-objects.ts';
import type { PodProcess } from './process-table.ts';

/** Programs that run a pod's containers behind a kernel or a network stack of their own; as /proc shows their names. */
const SANDBOXES = /^(runsc|qemu-|cloud-hyperviso|firecracker|dragonball|stratovirt)/;

/**
 * @param netns of the pod, where it was found
 * @param processes of the pod, as the node sees them
 * @returns one sentence for a person; undefined: the pod can be in the mesh
 */
export function whyLeftAlone(
  pod: Pick<NodePod, 'hostNetwork' | 'runtimeClass'>,
  netns: FoundNetns | undefined,
  processes: readonly PodProcess[],
): string | undefined {
  if (pod.hostNetwork)
    return 'it uses the network of the node (hostNetwork): its traffic cannot be told from the node';
  if (pod.runtimeClass === undefined) return undefined;
  const sandbox = processes.find(({ name }) => SANDBOXES.test(name));
  const runtime = `its runtime class ${JSON.stringify(pod.runtimeClass)}`;
  if (sandbox !== undefined) {
    return `${runtime} runs it in ${sandbox.name}, whose sockets are not those of the node's kernel`;
  }
  if (netns === undefined && processes.length > 0) {
    return `${runtime} keeps its processes in no network namespace that the node can see`;
  }
  return undefined;
}
