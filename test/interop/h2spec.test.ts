import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { Protocol } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { buildGoProgram } from '../support/go-program.ts';
import { OwnWaypoint } from '../unit/waypoint/support/own-waypoint.ts';
import { RecordingBackend } from '../unit/waypoint/support/recording-backend.ts';

const BUILD_MS = 600_000;
const RUN_MS = 300_000;

/** Cases that fail, and why. Whatever else fails, or passes of these, fails the test. */
const KNOWN_FAILURES: Readonly<Record<string, string>> = {};

describe("h2spec against a waypoint's HTTP/2", () => {
  let waypoint: OwnWaypoint;
  let backend: RecordingBackend;
  let folder: string;
  let h2spec: string;

  before(async function () {
    this.timeout(BUILD_MS);
    h2spec = buildGoProgram('h2spec', 'github.com/summerwind/h2spec/cmd/h2spec');
    folder = mkdtempSync(join(tmpdir(), 'loam-h2spec-'));
    waypoint = await OwnWaypoint.start();
    backend = await RecordingBackend.start(waypoint.podIp);
    // Its cases send bodies; the endpoint's answer must be longer than a few bytes for those of flow control.
    backend.answer = () => 'HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n' + 'x'.repeat(64);
    waypoint.serve({ name: 'web', protocol: Protocol.HTTP1, targetPort: backend.port });
  });
  after(async () => {
    await waypoint.close();
    backend.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('passes all cases but the known ones', async function () {
    this.timeout(RUN_MS);
    const port = await waypoint.front('web');
    const report = join(folder, 'report.xml');
    const args = ['-h', '127.0.0.1', '-p', String(port), '-P', '/', '-o', '4', '-j', report];
    await new Promise<void>((resolve) =>
      execFile(h2spec, args, { timeout: RUN_MS }, (e, o, er) => {
        console.log(e?.message, o, er);
        resolve();
      }),
    );
    const { passed, failed } = readReport(readFileSync(report, 'utf8'));
    console.log(`      h2spec: ${passed.length} passed, ${failed.length} failed`);
    assert.deepEqual(failed.sort(), Object.keys(KNOWN_FAILURES).sort());
    assert.ok(passed.length > 100, `${passed.length} cases passed`);
  });
});

/** JUnit's XML as h2spec writes it. */
function readReport(xml: string): { passed: string[]; failed: string[] } {
  const passed: string[] = [];
  const failed: string[] = [];
  for (const [, attributes = '', rest = ''] of xml.matchAll(/<testcase ([^>]*?)>(.*?)<\/testcase>/gs)) {
    const name = /classname="([^"]*)"/.exec(attributes)?.[1] ?? attributes;
    const part = /package="([^"]*)"/.exec(attributes)?.[1] ?? '';
    (/<(failure|error)/.test(rest) ? failed : passed).push(`${part}: ${name}`);
  }
  return { passed, failed };
}
