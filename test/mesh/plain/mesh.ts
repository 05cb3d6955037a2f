import { appFile } from '../harness.ts';
import { BASE, podManifest, serverManifest, serviceManifest } from '../manifests.ts';
import { SharedMesh } from '../shared-mesh.ts';

export const FAMILIES = ['4', '6'] as const;
export type Family = (typeof FAMILIES)[number];

/** What app/server.mjs tells of a connection. */
export interface Who {
  readonly remote: string;
  readonly local: string;
}

/** What app/client.mjs tells of one. */
export interface Dialled {
  readonly connected: boolean;
  readonly received: string;
  readonly end: string;
}

const DUAL = 'ipFamilyPolicy: RequireDualStack';
/** Where the pod server greets clients on an MPTCP socket. */
export const MPTCP_PORT = 7100;
const PORTS = { 80: 8080, 7000: 7000, 7001: 7001 };

/** Pods of both families and of one, Services of both and of one, and no waypoint. */
export const plainMesh = new SharedMesh({
  ...BASE,
  'server.yaml': serverManifest('server', 'node-b', {
    mptcp: `python3 ${appFile('mptcp-server.py')} ${MPTCP_PORT}`,
    iperf: 'iperf3 -s -p 5201',
  }),
  'redis.yaml': podManifest('redis', {
    node: 'node-b',
    commands: {
      redis: "redis-server --port 6379 --protected-mode no --save '' --appendonly no --dir /",
    },
    ports: [6379],
  }),
  'six.yaml': serverManifest('six', 'node-b', {}, { families: 'IPv6' }),
  'four.yaml': podManifest('four', { families: 'IPv4' }),
  'late.yaml': lateManifest('none'),
  'services.yaml': [
    serviceManifest('server', 'server', { ...PORTS, [MPTCP_PORT]: MPTCP_PORT, 5201: 5201 }, DUAL),
    serviceManifest('near', 'near', PORTS, DUAL),
    serviceManifest('redis', 'redis', { 6379: 6379 }, DUAL),
    serviceManifest('six', 'six', PORTS, 'ipFamilyPolicy: PreferDualStack'),
    serviceManifest('single', 'server', PORTS),
    serviceManifest('only-six', 'server', PORTS, 'ipFamilies: [IPv6]'),
  ].join('---\n'),
});

/** A pod that is not in the mesh until a test says so. */
export function lateManifest(mode: 'ambient' | 'none'): string {
  return podManifest('late', { labels: { 'loam.dev/dataplane-mode': mode } });
}

/** The address that the server's greeting names as its client's, in its one form. */
export function clientOf(greeting: string): string {
  const { remote } = JSON.parse(greeting.replace(/^HELLO /, '')) as Who;
  return remote.replace(/:\d+$/, '').replace(/^::ffff:/, '');
}
