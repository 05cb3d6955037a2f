import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ConfigError, readConfig } from '../../../agent/config.ts';

const REQUIRED = ['--instance', 'x', '--node', 'node-a', '--pods', 'p.json', '--zds', '/z', '--status', '/s'];

describe('agent configuration', () => {
  it('reads flags', () => {
    assert.deepEqual(readConfig([...REQUIRED, '--cgroup', '/cg', '--log-level', 'debug'], {}), {
      instance: 'x',
      node: 'node-a',
      pods: 'p.json',
      kubernetes: undefined,
      kubelet: 'kubelet',
      cni: undefined,
      nri: '/var/run/nri/nri.sock',
      zds: '/z',
      status: '/s',
      cgroup: '/cg',
      bpffs: undefined,
      guard: undefined,
      enrolGraceMs: 600_000,
      logLevel: 'debug',
      cleanup: false,
      cleanupStep: 'remove',
    });
  });

  it('reads the environment, and flags win', () => {
    const config = readConfig(REQUIRED, { LOAM_NODE: 'other', LOAM_BPFFS: '/b', LOAM_LOG_LEVEL: 'warn' });
    assert.deepEqual([config.node, config.bpffs, config.logLevel], ['node-a', '/b', 'warn']);
  });

  it('takes the pods from the Kubernetes API where no file is given', () => {
    const without = REQUIRED.filter((each) => each !== '--pods' && each !== 'p.json');
    const account = '/var/run/secrets/kubernetes.io/serviceaccount';
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
    assert.deepEqual(readConfig(without, env).kubernetes, {
      server: 'https://[fd00::1]:443',
      caFile: `${account}/ca.crt`,
      credentials: { kind: 'token', file: `${account}/token` },
    });
    const flags = ['--kubernetes-api', 'https://api:6443', '--kubernetes-account', '/account'];
    assert.deepEqual(readConfig([...without, ...flags], {}).kubernetes, {
      server: 'https://api:6443',
      caFile: '/account/ca.crt',
      credentials: { kind: 'token', file: '/account/token' },
    });
    assert.throws(
      () => readConfig(without, {}),
      /--pods or --kubernetes-api: missing: KUBERNETES_SERVICE_HOST/,
    );
    assert.throws(
      () => readConfig([...without, '--kubernetes-api', 'api'], {}),
      /allowed: https:\/\/HOST:PORT/,
    );
  });

  it('needs only the instance to clean up', () => {
    assert.equal(readConfig(['--cleanup', '--instance', 'x'], {}).cleanup, true);
  });

  const wrong: [string[], Record<string, string>, RegExp][] = [
    [REQUIRED.slice(2), {}, /^--instance: missing; allowed: 1 to 32 of/],
    [REQUIRED.slice(2), { LOAM_INSTANCE: 'Å' }, /^LOAM_INSTANCE: "Å" is not allowed; allowed: 1 to 32 of/],
    [
      [...REQUIRED, '--zds', 'z'.repeat(200)],
      {},
      /^--zds: "z+" is not allowed; allowed: a path of at most 107 bytes/,
    ],
    [
      [...REQUIRED, '--cgroup', 'relative'],
      {},
      /^--cgroup: "relative" is not allowed; allowed: an absolute path/,
    ],
    [[...REQUIRED, '--log-level', 'loud'], {}, /allowed: trace, debug, info, warn, error$/],
    [[...REQUIRED, '--podz', 'x'], {}, /--podz.*allowed: --instance --node/],
    [[...REQUIRED, 'stray'], {}, /stray.*allowed: --instance/],
  ];
  for (const [args, env, message] of wrong) {
    it(`refuses, naming what is allowed: ${message.source}`, () => {
      assert.throws(
        () => readConfig(args, env),
        (error: Error) => {
          assert.ok(error instanceof ConfigError);
          assert.match(error.message, message);
          assert.ok(!error.message.includes('\n'));
          return true;
        },
      );
    });
  }
});
