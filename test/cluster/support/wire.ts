/** What two pods say to each other on the link between the nodes. */
import { Capture, type Segment } from '../../mesh/capture.ts';
import type { TestCluster, TestPod } from './cluster.ts';

export const HBONE_PORT = 15008;
const BRIDGE = 'fabric';

/** Everything that passed while something was done. @returns all of it, raw, and the segments to or from the pods */
export async function onTheWire(
  cluster: TestCluster,
  pods: readonly TestPod[],
  during: () => Promise<unknown>,
): Promise<{ raw: Buffer; segments: Segment[] }> {
  const capture = await Capture.start(cluster.fabric, BRIDGE);
  let stopped;
  try {
    await during();
  } finally {
    stopped = await capture.stop();
  }
  const ips = pods.map(({ status }) => status.podIP);
  const concerns = ({ source, destination }: Segment): boolean =>
    ips.includes(source) && ips.includes(destination);
  return { raw: stopped.raw, segments: stopped.segments.filter(concerns) };
}

export function isHbone({ sourcePort, destinationPort }: Segment): boolean {
  return sourcePort === HBONE_PORT || destinationPort === HBONE_PORT;
}
