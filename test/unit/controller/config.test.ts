import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { readConfig } from '../../../controller/config.ts';
import { packageRoot } from '../../../lib/package-root.ts';
import { getJson, layOutShop, temporaryDir, until } from './harness.ts';

const GOOD = {
  manifests: '/tmp',
  assignments: '/tmp/a',
  state: '/tmp/s',
  tokens: '/tmp/t',
  status: '/tmp/x.sock',
  listen: '198.18.0.1:15012',
};

function args(flags: Record<string, string>): string[] {
  return Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
}

describe('config', () => {
  it('takes flags before the environment before defaults', () => {
    const config = readConfig(args({ ...GOOD, 'trust-domain': 'a.example' }), {
      LOAM_TRUST_DOMAIN: 'b.example',
      LOAM_CLUSTER_ID: 'c',
    });
    assert.deepEqual(
      [config.trustDomain, config.clusterId, config.rootNamespace],
      ['a.example', 'c', 'loam-system'],
    );
  });

  const wrong: Record<string, string> = {
    listen: '1.2.3.4',
    manifests: '/does/not/exist',
    'cert-ttl-max-s': '1e3',
    'root-namespace': 'A',
    'log-level': 'loud',
    status: `/tmp/${'x'.repeat(120)}`,
    'root-cert': '/tmp/only-one',
  };
  for (const [name, value] of Object.entries(wrong)) {
    it(`names a wrong --${name}, and what is allowed`, () => {
      assert.throws(
        () => readConfig(args({ ...GOOD, [name]: value }), {}),
        (error: Error) =>
          error.message.includes('--root-key') ||
          (error.message.includes(`--${name}`) && /allowed: /.test(error.message)),
      );
    });
  }

  const IN_CLUSTER = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
  const KUBERNETES = { status: '/tmp/x.sock', listen: '0.0.0.0:15012', ready: '[::]:15021' };

  it('serves its status over loopback alone', () => {
    const at = (admin: string): unknown => readConfig(args({ ...KUBERNETES, admin }), IN_CLUSTER).admin;
    assert.deepEqual(at('127.0.0.1:15000'), { host: '127.0.0.1', port: 15000 });
    for (const open of ['0.0.0.0:15000', '[::]:15000', '10.0.0.1:15000'])
      assert.throws(() => at(open), /--admin.*allowed: 127\.0\.0\.1:PORT/);
  });

  it('takes a copy of what an API server has for its source', () => {
    const { manifests: _, assignments: __, ...rest } = GOOD;
    const config = readConfig(args({ ...rest, objects: '/tmp/o.json' }), IN_CLUSTER);
    assert.deepEqual(config.platform, {
      kind: 'copy',
      objects: '/tmp/o.json',
      state: '/tmp/s',
      tokens: '/tmp/t',
    });
    for (const [name, value] of Object.entries({
      assignments: '/tmp/a',
      'ca-secret': 'x',
      'root-key': '/tmp/k',
    }))
      assert.throws(
        () => readConfig(args({ ...rest, objects: '/tmp/o.json', [name]: value }), IN_CLUSTER),
        new RegExp(`--${name} .*allowed: nothing with --objects`),
      );
    assert.throws(
      () => readConfig(args({ ...GOOD, objects: '/tmp/o.json' }), {}),
      /--objects .*allowed: nothing with --manifests/,
    );
  });

  it('takes Kubernetes for its source without --manifests', () => {
    const config = readConfig(
      args({ ...KUBERNETES, namespace: 'mesh', 'serving-names': 'a.b.svc,c' }),
      IN_CLUSTER,
    );
    assert(config.platform.kind === 'kubernetes');
    const { access, replica, ...rest } = config.platform;
    assert.deepEqual(rest, {
      ...{
        kind: 'kubernetes',
        namespace: 'mesh',
        tokenAudience: 'loam',
        ztunnelAccount: 'loam-ztunnel',
        caSecret: 'loam-ca',
      },
    });
    assert.deepEqual(access, {
      server: 'https://[fd00::1]:443',
      caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
      credentials: { kind: 'token', file: '/var/run/secrets/kubernetes.io/serviceaccount/token' },
    });
    assert.notEqual(replica, '');
    assert.deepEqual(config.ready, { host: '::', port: 15021 });
    assert.deepEqual([config.rootNamespace, config.servingNames], ['mesh', ['a.b.svc', 'c']]);
  });

  it('says what it needs where it is neither in a pod nor given a directory', () => {
    assert.throws(
      () => readConfig(args(KUBERNETES), {}),
      /--kubernetes-api .*missing; allowed: https:\/\/HOST:PORT, or --manifests/,
    );
    const wrongOnes: Record<string, string> = {
      'kubernetes-api': 'http://a',
      namespace: 'A',
      'serving-names': 'a,,b',
      'waypoint-image': '',
      tokens: '/tmp/t',
      metrics: '15020',
    };
    for (const [name, value] of Object.entries(wrongOnes))
      assert.throws(
        () => readConfig(args({ ...KUBERNETES, [name]: value }), IN_CLUSTER),
        (error: Error) => error.message.includes(`--${name}`) && /allowed: /.test(error.message),
        name,
      );
    assert.throws(
      () => readConfig(args({ ...GOOD, 'waypoint-image': 'a' }), {}),
      /--waypoint-image .*allowed: nothing with --manifests/,
    );
  });

  const main = join(packageRoot(), 'controller', 'main.ts');

  it('ends with 2 and one line when a flag is wrong', async () => {
    const child = spawn(process.execPath, [main, '--manifests', '/does/not/exist'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {},
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number];
    assert.equal(code, 2);
    assert.match(stderr, /^controller: --manifests \(LOAM_MANIFESTS\) .* allowed: .*\n$/);
  });

  it('runs as a program and ends with 0 at SIGTERM', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    const file = (name: string): string => join(dir.path, name);
    const flags = {
      manifests: file('manifests'),
      assignments: file('assignments.json'),
      tokens: file('tokens.json'),
      state: file('state'),
      status: file('s.sock'),
      listen: '127.0.0.1:0',
    };
    const child = spawn(process.execPath, [main, ...args(flags)], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {},
    });
    let stdout = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    await until(() => stdout.includes('"msg":"serving"'));
    assert.equal((await getJson(flags.status, '/healthz/ready')).code, 200);
    child.kill('SIGTERM');
    const [code] = (await once(child, 'close')) as [number];
    assert.equal(code, 0);
    assert(!stdout.includes('a'.repeat(32)), 'no token in the log');
  });
});
