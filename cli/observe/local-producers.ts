import type { EventsWanted } from '../../lib/flow/event.ts';
import { followJsonLines, type Endpoint } from '../local/http.ts';
import { WAYPOINT_ADMIN_PORT, ZTUNNEL_ADMIN_PORT } from '../local/programs.ts';
import { supervisorReport } from '../local/status.ts';
import type { FlowProducer } from './feed.ts';

/** All that tell flows in a local mesh. @throws LocalMeshError when no mesh of that name runs */
export async function localProducers(mesh: string): Promise<FlowProducer[]> {
  const { nodes, waypoints } = await supervisorReport(mesh);
  return [
    ...nodes.map(({ name, netns }) => producer(`ztunnel ${name}`, { netns, port: ZTUNNEL_ADMIN_PORT })),
    ...waypoints.flatMap(({ namespace, instances }) =>
      instances.map(({ name, netns }) =>
        producer(`waypoint ${namespace}/${name}`, { netns, port: WAYPOINT_ADMIN_PORT }),
      ),
    ),
  ];
}

function producer(name: string, endpoint: Endpoint): FlowProducer {
  return {
    name,
    follow: (events: EventsWanted, signal, onValue) =>
      followJsonLines(endpoint, `/flows?events=${events}`, signal, onValue),
  };
}
