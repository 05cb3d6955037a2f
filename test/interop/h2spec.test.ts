import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { Protocol } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { buildGoProgram } from '../support/go-program.ts';
import { OwnWaypoint } from '../unit/waypoint/support/own-waypoint.ts';

const BUILD_MS = 600_000;
const RUN_MS = 300_000;

/** Of 145. All of them fail with a bare server of Node's too. */
const KNOWN_FAILURES: readonly string[] = [
  'http2/5.1.1: Sends stream identifier that is numerically smaller than previous',
  'http2/5.1: closed: Sends a DATA frame',
  'http2/5.1: closed: Sends a DATA frame after sending RST_STREAM frame',
  'http2/5.1: closed: Sends a HEADERS frame',
  'http2/5.1: closed: Sends a HEADERS frame after sending RST_STREAM frame',
  'http2/5.3.1: Sends PRIORITY frame that depend on itself',
  'http2/6.3: Sends a PRIORITY frame with 0x0 stream identifier',
  'http2/6.7: Sends a PING frame with ACK',
  'http2/6.9.1: Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream',
];

describe("h2spec against a waypoint's HTTP/2", () => {
  let waypoint: OwnWaypoint;
  let bare: http2.Http2Server;
  let folder: string;
  let h2spec: string;

  before(async function () {
    this.timeout(BUILD_MS);
    h2spec = buildGoProgram('h2spec', 'github.com/summerwind/h2spec/cmd/h2spec');
    folder = mkdtempSync(join(tmpdir(), 'loam-h2spec-'));
    waypoint = await OwnWaypoint.start();
    // The application behind the waypoint, and what Node does by itself.
    bare = http2.createServer();
    bare.on('session', (session) => session.on('error', () => undefined));
    bare.on('stream', (stream: http2.ServerHttp2Stream) => {
      stream.on('error', () => undefined);
      stream.resume();
      stream.respond({ ':status': 200 });
      // The cases of flow control need a few bytes.
      stream.end('x'.repeat(64));
    });
    bare.listen(0, '0.0.0.0');
    await once(bare, 'listening');
    waypoint.serve({ name: 'h2', protocol: Protocol.HTTP2, targetPort: portOf(bare) });
  });
  after(async () => {
    await waypoint.close();
    bare.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('passes all cases but those that Node itself does not pass', async function () {
    this.timeout(RUN_MS);
    const { passed, failed } = await run(await waypoint.front('h2'));
    assert.deepEqual(failed, KNOWN_FAILURES);
    assert.equal(passed + failed.length, 145);
    const ofNode = await run(portOf(bare));
    const own = failed.filter((name) => !ofNode.failed.includes(name));
    assert.deepEqual(own, []);
  });

  async function run(port: number): Promise<{ passed: number; failed: string[] }> {
    const report = join(folder, `${port}.xml`);
    const args = ['-h', '127.0.0.1', '-p', String(port), '-P', '/', '-o', '2', '-j', report];
    const log = await new Promise<string>((resolve) =>
      execFile(h2spec, args, { timeout: RUN_MS }, (_failed, stdout, stderr) => resolve(stdout + stderr)),
    );
    try {
      return readReport(readFileSync(report, 'utf8'));
    } catch (cause) {
      throw new Error(`h2spec ended without a report:\n${log}`, { cause });
    }
  }
});

function portOf(server: http2.Http2Server): number {
  return (server.address() as AddressInfo).port;
}

/** JUnit's XML as h2spec writes it. */
function readReport(xml: string): { passed: number; failed: string[] } {
  let passed = 0;
  const failed: string[] = [];
  for (const [, attributes = '', rest = ''] of xml.matchAll(/<testcase ([^>]*?)>(.*?)<\/testcase>/gs)) {
    const name = /classname="([^"]*)"/.exec(attributes)?.[1] ?? attributes;
    const part = /package="([^"]*)"/.exec(attributes)?.[1] ?? '';
    if (/<(failure|error)/.test(rest)) failed.push(`${part}: ${name}`);
    else passed += 1;
  }
  return { passed, failed: failed.sort() };
}
