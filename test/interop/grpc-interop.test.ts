import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import net from 'node:net';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { Protocol } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { buildGoProgram } from '../support/go-program.ts';
import { OwnWaypoint } from '../unit/waypoint/support/own-waypoint.ts';
import { closedPort } from '../unit/ztunnel/support/toy-waypoint.ts';

const BUILD_MS = 600_000;
const CASE_MS = 60_000;
const run = promisify(execFile);

/** gRPC's own interoperability cases, but for those that need TLS to the application, accounts or compression. */
const CASES = [
  'empty_unary',
  'large_unary',
  'client_streaming',
  'server_streaming',
  'ping_pong',
  'empty_stream',
  'timeout_on_sleeping_server',
  'cancel_after_begin',
  'cancel_after_first_response',
  'status_code_and_message',
  'special_status_message',
  'custom_metadata',
  'unimplemented_method',
  'unimplemented_service',
];

describe("gRPC's interoperability cases through a waypoint", () => {
  let server: ChildProcess;
  let waypoint: OwnWaypoint;
  let client: string;
  const ports: Record<string, number> = {};

  before(async function () {
    this.timeout(BUILD_MS);
    client = buildGoProgram('grpc-interop', 'google.golang.org/grpc/interop/client');
    const program = buildGoProgram('grpc-interop', 'google.golang.org/grpc/interop/server');
    const port = await closedPort();
    server = spawn(program, ['--port', String(port)], { stdio: 'ignore' });
    await reachable(port);
    waypoint = await OwnWaypoint.start();
    // The server listens at every address, that of the pod among them.
    waypoint.serve({ name: 'grpc', protocol: Protocol.GRPC, targetPort: port });
    waypoint.serve({ name: 'detected', protocol: Protocol.DETECT, targetPort: port });
    for (const service of ['grpc', 'detected']) ports[service] = await waypoint.front(service);
  });
  after(async () => {
    await waypoint.close();
    server.kill();
    await once(server, 'exit');
  });

  for (const service of ['grpc', 'detected']) {
    for (const name of CASES) {
      it(`${name} (${service})`, async function () {
        this.timeout(CASE_MS);
        const args = ['--server_host=127.0.0.1', `--server_port=${ports[service]}`, `--test_case=${name}`];
        const { stderr } = await run(client, args, {
          timeout: CASE_MS,
          env: { ...process.env, GRPC_GO_LOG_SEVERITY_LEVEL: 'info' },
        });
        // It says that at the end of each case, and ends with an error otherwise.
        assert.match(stderr, /done/i);
      });
    }
  }
});

async function reachable(port: number): Promise<void> {
  for (;;) {
    const socket = net.connect(port, '127.0.0.1');
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    await sleep(50);
  }
}
