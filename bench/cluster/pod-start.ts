/** What enrolment adds to the start of a pod. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { container, namespace, podSpec } from '../../test/cluster/support/apps.ts';
import type { TestCluster } from '../../test/cluster/support/cluster.ts';
import { AMBIENT } from '../../test/cluster/support/installation.ts';
import { median } from './text.ts';

const NAMESPACES = { plain: 'bench-plain', enrolled: 'bench-enrolled' } as const;
type Kind = keyof typeof NAMESPACES;

/**
 * Starts pods one after the other, in turns, on node2.
 *
 * @param logs where containerd's logs are
 */
export async function podStart(
  cluster: TestCluster,
  count: number,
  logs: string,
  say: (text: string) => void,
): Promise<void> {
  const spaces = [namespace(NAMESPACES.plain), namespace(NAMESPACES.enrolled, AMBIENT)];
  await cluster.apply(...spaces);
  const took: Record<Kind, { process: number; runtime: number }[]> = { plain: [], enrolled: [] };
  try {
    for (let i = 0; i < count; i += 1)
      for (const kind of ['plain', 'enrolled'] as const) {
        const name = `pod-${i}`;
        const begun = Date.now();
        await cluster.apply({
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name, namespace: NAMESPACES[kind], labels: { app: name } },
          spec: podSpec(
            [
              container([
                '/usr/local/bin/node',
                '-e',
                'console.log(Date.now()); setInterval(() => {}, 1 << 30)',
              ]),
            ],
            {
              nodeName: 'node2',
              terminationGracePeriodSeconds: 0,
            },
          ),
        });
        const [pod] = await cluster.readyPods(NAMESPACES[kind], `app=${name}`);
        if (pod === undefined) throw new Error(`no pod ${name}`);
        const process = Number((await cluster.log(pod)).split('\n')[0]) - begun;
        took[kind].push({
          process,
          runtime: runtimeMs(join(logs, 'node2-containerd.log'), pod.metadata.uid),
        });
        await cluster.client.delete(`/api/v1/namespaces/${NAMESPACES[kind]}/pods/${name}`, {
          gracePeriodSeconds: 0,
        });
      }
  } finally {
    await cluster.remove(...spaces);
  }
  for (const kind of ['plain', 'enrolled'] as const)
    say(
      `pod start, ${kind}, median of ${count}: from RunPodSandbox to the container started ${median(took[kind].map(({ runtime }) => runtime)).toFixed(0)} ms; from the request to the process ${median(took[kind].map(({ process }) => process))} ms`,
    );
}

/** From the beginning of a pod's sandbox to its container's start, as containerd logs it. */
function runtimeMs(log: string, uid: string): number {
  const lines = readFileSync(log, 'utf8').split('\n');
  const sandboxLine = lines.find((line) => line.includes('RunPodSandbox for') && line.includes(uid));
  const returned = lines.find((line) => line.includes('returns sandbox id') && line.includes(uid));
  const id = /returns sandbox id \\?"([0-9a-f]+)/.exec(returned ?? '')?.[1] ?? 'none';
  const created = lines.find(
    (line) =>
      line.includes('CreateContainer within sandbox') &&
      line.includes(id) &&
      line.includes('returns container id'),
  );
  const containerId = /returns container id \\?"([0-9a-f]+)/.exec(created ?? '')?.[1] ?? 'none';
  const started = lines.find(
    (line) =>
      line.includes('StartContainer for') &&
      line.includes(containerId) &&
      line.includes('returns successfully'),
  );
  return timeOf(started) - timeOf(sandboxLine);
}

function timeOf(line: string | undefined): number {
  return Date.parse(/time="([^"]+)"/.exec(line ?? '')?.[1] ?? '');
}
