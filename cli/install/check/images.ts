/** Whether all programs are of one build. */
import type { V1Pod } from '@kubernetes/client-node';
import { fail, pass, type Finding } from './finding.ts';
import { podsOf } from './installation.ts';
import type { CheckSubject } from './subject.ts';

export async function checkImages(subject: CheckSubject): Promise<Finding[]> {
  const wanted = subject.installed?.values['image'];
  const findings: Finding[] = [];
  /** Nodes by what the runtime says that the image is. */
  const builds = new Map<string, Set<string>>();
  for (const program of ['controller', 'agent', 'ztunnel'] as const)
    for (const pod of await podsOf(subject, program)) {
      const image = pod.spec?.containers[0]?.image;
      const node = pod.spec?.nodeName ?? '';
      if (image !== wanted)
        findings.push(
          fail(
            `${program} ${pod.metadata?.name ?? ''} on ${node}`,
            `runs image ${image ?? ''}, and the installation has ${String(wanted)}`,
            'see whether its rollout goes on: kubectl rollout status; else loam upgrade',
          ),
        );
      const build = buildOf(pod);
      if (image === wanted && build !== undefined)
        builds.set(build, (builds.get(build) ?? new Set()).add(node));
    }
  if (builds.size > 1)
    findings.push(
      fail(
        'images',
        `${String(wanted)} is not the same on all nodes: ${[...builds].map(([id, nodes]) => `${id.slice(-12)} on ${[...nodes].join(', ')}`).join('; ')}`,
        'give each build of the image a name of its own, and upgrade to it: loam upgrade --set image=…',
      ),
    );
  if (findings.length === 0) findings.push(pass('images', `all programs are of ${String(wanted)}`));
  return findings;
}

function buildOf({ status }: V1Pod): string | undefined {
  const id = status?.containerStatuses?.[0]?.imageID;
  return id === undefined || id === '' ? undefined : id;
}
