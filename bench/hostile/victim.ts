/**
 * A victim in a process of its own: the HBONE side of a ztunnel's pod, or one worker of a waypoint. Tells its parent how
 * to reach it, then each second how long its event loop stood and what memory it has.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Protocol } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { OwnZtunnel } from '../../test/support/hostile/own-ztunnel.ts';
import { OwnWaypoint } from '../../test/unit/waypoint/support/own-waypoint.ts';
import { RecordingBackend } from '../../test/unit/waypoint/support/recording-backend.ts';

export interface VictimHello {
  readonly port: number;
  readonly authority: string;
  readonly rootPem: string;
  readonly attacker: { readonly certChainPem: string; readonly keyPem: string };
  readonly innocent: { readonly certChainPem: string; readonly keyPem: string };
}

export interface VictimStatus {
  readonly stallMs: number;
  readonly cpuMs: number;
  readonly rssMb: number;
  readonly heapMb: number;
}

const delay = monitorEventLoopDelay({ resolution: 5 });
const hello = process.argv[2] === 'waypoint' ? await waypoint() : await ztunnel();
process.send?.(hello);
delay.enable();
let cpu = process.cpuUsage();
process.on('message', () => {
  globalThis.gc?.();
  const used = process.cpuUsage(cpu);
  cpu = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  const status: VictimStatus = {
    stallMs: Math.round(delay.max / 1e6),
    cpuMs: Math.round((used.user + used.system) / 1e3),
    rssMb: Math.round(rss / 2 ** 20),
    heapMb: Math.round(heapUsed / 2 ** 20),
  };
  delay.reset();
  process.send?.(status);
});
process.on('disconnect', () => process.exit(0));

async function ztunnel(): Promise<VictimHello> {
  const victim = await OwnZtunnel.start();
  return {
    port: victim.port,
    authority: victim.authority,
    rootPem: victim.ca.root.toString('pem'),
    attacker: await victim.client('attacker'),
    innocent: await victim.client('innocent'),
  };
}

async function waypoint(): Promise<VictimHello> {
  const victim = await OwnWaypoint.start();
  const backend = await RecordingBackend.start(victim.podIp);
  victim.serve({ name: 'web', protocol: Protocol.HTTP2, targetPort: backend.port });
  return {
    port: victim.port,
    authority: victim.addressOf('web'),
    rootPem: victim.ca.root.toString('pem'),
    attacker: await victim.client('attacker'),
    innocent: await victim.client('innocent'),
  };
}
