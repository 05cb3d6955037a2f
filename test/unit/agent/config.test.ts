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
      zds: '/z',
      status: '/s',
      cgroup: '/cg',
      bpffs: undefined,
      guard: undefined,
      logLevel: 'debug',
      cleanup: false,
    });
  });

  it('reads the environment, and flags win', () => {
    const config = readConfig(REQUIRED, { LOAM_NODE: 'other', LOAM_BPFFS: '/b', LOAM_LOG_LEVEL: 'warn' });
    assert.deepEqual([config.node, config.bpffs, config.logLevel], ['node-a', '/b', 'warn']);
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
