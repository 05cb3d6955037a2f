import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { Capture, type Segment } from '../capture.ts';
import { finished, type CommandResult } from '../harness.ts';
import { PATIENCE } from '../../support/patience.ts';
import { plainMesh } from './mesh.ts';

const HBONE_PORT = 15008;
const SECRET = 'application-byte-in-the-clear';
/** TLS record types (RFC 8446 section 5.1): change_cipher_spec, alert, handshake, application_data. */
const RECORD_TYPES = [20, 21, 22, 23];
/** The extension supported_versions of a ServerHello that chose TLS 1.3. */
const CHOSE_TLS_1_3 = Buffer.from('002b00020304', 'hex');

describe('mesh: on the wire between nodes', function () {
  this.timeout(180_000);
  const mesh = plainMesh.use();

  it('is nothing but TLS 1.3 on port 15008, with no application byte in the clear', async () => {
    const wire = await Capture.start(mesh().netns({ kind: 'fabric' }), 'fabric');
    // A pod that no other file dials from: its tunnels begin here, so that their handshakes are seen.
    const from = 'near';
    const [client, server] = [await mesh().pod(from), await mesh().pod('server')];
    for (let i = 0; i < 3; i++) {
      const said = await mesh().exec(from, 'curl', '-sS', '--data', SECRET, 'http://server/');
      assert.equal(said.stdout, SECRET, said.stderr);
      for (const ip of server.ips) {
        const [direct] = await mesh().client(from, 'names', ip, '8080');
        assert.ok(direct, `by the address of the pod, too: ${ip}`);
        const url = `http://${ip.includes(':') ? `[${ip}]` : ip}:8080/`;
        const told = await mesh().exec(from, 'curl', '-sS', '-g', '--data', SECRET, url);
        assert.equal(told.stdout, SECRET, told.stderr);
      }
    }
    const { raw, segments } = await wire.stop();
    const ips = [...client.ips, ...server.ips];
    assert.equal(ips.length, 4, 'two families');
    const between = segments.filter((s) => ips.includes(s.source) || ips.includes(s.destination));
    for (const ip of ips)
      assert.ok(
        between.filter(({ source }) => source === ip).length > 10,
        `the capture saw the traffic of ${ip}`,
      );
    for (const segment of between)
      assert.ok(
        [segment.sourcePort, segment.destinationPort].includes(HBONE_PORT),
        `port of ${text(segment)}`,
      );
    assert.equal(raw.indexOf(SECRET), -1, 'the application bytes are not to be found');
    checkTls(between);
  });

  it('would be seen in the clear, were it so: a caller outside of the mesh', async () => {
    const wire = await Capture.start(mesh().netns({ kind: 'fabric' }), 'fabric');
    const { ip } = await mesh().pod('server');
    const said = await mesh().exec('outsider', 'curl', '-sS', '--data', SECRET, `http://${ip}:8080/`);
    assert.equal(said.stdout, SECRET, said.stderr);
    const { raw, segments } = await wire.stop();
    assert.notEqual(raw.indexOf(SECRET), -1);
    assert.ok(segments.some((segment) => segment.destinationPort === 8080));
  });

  it('refuses a peer without a certificate of the mesh', async () => {
    const { ip } = await mesh().pod('server');
    const { code, stdout, stderr } = await openssl(`${ip}:${HBONE_PORT}`);
    assert.notEqual(code, 0);
    assert.match(stdout + stderr, /alert certificate required/i);
  });

  it('shows its SPIFFE identity to one with a certificate, in TLS 1.3 with h2', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'loam-cert-'));
    try {
      const root = join(mesh().paths.controllerState, 'root-ca.pem');
      await shell(`
        cd ${dir}
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj / -out csr.pem
        printf 'subjectAltName=critical,URI:spiffe://cluster.local/ns/m/sa/client\\nextendedKeyUsage=clientAuth,serverAuth\\n' > ext
        cp ${join(mesh().paths.controllerState, 'root-cert.pem')} root.pem
        openssl x509 -req -in csr.pem -CA ${root} -CAkey ${root} -days 1 -extfile ext -out cert.pem`);
      const { ip } = await mesh().pod('server');
      const { stdout } = await openssl(
        ...[`${ip}:${HBONE_PORT}`, '-cert', join(dir, 'cert.pem'), '-key', join(dir, 'key.pem')],
        ...['-CAfile', join(dir, 'root.pem')],
      );
      assert.match(stdout, /Verify return code: 0 \(ok\)/);
      assert.match(stdout, /TLSv1\.3/);
      assert.match(stdout, /ALPN protocol: h2/);
      const shown = await finished(
        spawn('openssl', ['x509', '-noout', '-ext', 'subjectAltName'], { stdio: 'pipe' }),
        /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/.exec(stdout)?.[0] ?? '',
      );
      assert.match(shown.stdout, /URI:spiffe:\/\/cluster\.local\/ns\/m\/sa\/server/);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  /** s_client from outside the mesh; its input stays open for a while, as the server's alert comes after the handshake. */
  function openssl(...args: string[]): Promise<CommandResult> {
    // In TLS 1.3 the refusal of a client comes after its handshake: it must not have left by then.
    const command = `{ sleep ${PATIENCE}; echo; } | openssl s_client -alpn h2 -connect ${args.join(' ')}`;
    return mesh().exec('outsider', 'sh', '-c', command);
  }
});

async function shell(script: string): Promise<void> {
  const { code, stderr } = await finished(spawn('sh', ['-e'], { stdio: 'pipe' }), script);
  assert.equal(code, 0, stderr);
}

function text(segment: Segment): string {
  return `${segment.source}:${segment.sourcePort} → ${segment.destination}:${segment.destinationPort}`;
}

/** Every flow is a chain of TLS records, and each server chose TLS 1.3. */
function checkTls(segments: readonly Segment[]): void {
  const flows = new Map<string, Buffer>();
  for (const segment of segments) {
    const key = text(segment);
    flows.set(key, Buffer.concat([flows.get(key) ?? Buffer.alloc(0), segment.payload]));
  }
  let servers = 0;
  for (const [key, bytes] of flows) {
    if (bytes.length === 0) continue;
    if (bytes[0] === 22 && bytes[5] === 2) {
      servers += 1;
      assert.notEqual(bytes.subarray(0, 512).indexOf(CHOSE_TLS_1_3), -1, `${key} chose another version`);
    }
    for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) {
      assert.ok(RECORD_TYPES.includes(bytes[at] ?? 0), `${key}: record type ${bytes[at]} at ${at}`);
      assert.equal(bytes[at + 1], 3, `${key}: no TLS record at ${at}`);
    }
  }
  assert.ok(servers > 0, 'handshakes were captured');
}
