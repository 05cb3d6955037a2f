import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ConfigError } from '../../../lib/flags.ts';
import { readConfig } from '../../../ztunnel/config.ts';

const CONTROL = [
  ...['--xds-address', 'https://198.18.0.1:15012', '--ca-address', 'https://198.18.0.1:15012'],
  ...['--xds-root', '/r.pem', '--ca-root', '/r.pem', '--token', '/t'],
];
const NEEDED = ['--node', 'node-a', '--zds', '/run/zds.sock', ...CONTROL];

describe('ztunnel/config', () => {
  it('has defaults for what need not be said', () => {
    const config = readConfig(NEEDED, {});
    assert.deepEqual(config.admin, { host: '127.0.0.1', port: 15000 });
    assert.deepEqual(config.ready, { host: '::', port: 15021 });
    assert.equal(config.drainDeadlineMs, 25_000);
    assert.deepEqual(config.state, {
      from: 'xds',
      address: 'https://198.18.0.1:15012',
      rootFile: '/r.pem',
      tokenFile: '/t',
    });
  });

  it('reads the environment where there is no flag', () => {
    const env = { LOAM_LOG_LEVEL: 'debug', LOAM_DRAIN_DEADLINE_MS: '7' };
    const config = readConfig([...NEEDED, '--drain-deadline-ms', '9'], env);
    assert.equal(config.logLevel, 'debug');
    assert.equal(config.drainDeadlineMs, 9);
  });

  it('needs no control plane with files in its place', () => {
    const args = ['--node', 'n', '--zds', 'z', '--static-state', 's.yaml', '--static-certs', 'certs'];
    const config = readConfig(args, {});
    assert.deepEqual(config.state, { from: 'file', path: 's.yaml' });
    assert.deepEqual(config.certificates, { from: 'folder', path: 'certs' });
  });

  const wrong: [what: string, args: string[], env: Record<string, string>, says: RegExp][] = [
    ['an unknown flag', [...NEEDED, '--nodes', 'x'], {}, /nodes.*allowed: --node/],
    ['a missing one', CONTROL, {}, /--node.*missing/],
    ['a bad value', [...NEEDED, '--admin', 'localhost'], {}, /^--admin: "localhost".*allowed: IPV4:PORT/],
    ['an impossible port', [...NEEDED, '--ready', '0.0.0.0:99999'], {}, /^--ready: "0.0.0.0:99999"/],
    ['a bad variable', NEEDED, { LOAM_LOG_LEVEL: 'loud' }, /^LOAM_LOG_LEVEL: "loud".*debug, info/],
    ['a number too small', [...NEEDED, '--cert-ttl-s', '1'], {}, /^--cert-ttl-s: 1 .*at least 10/],
    [
      'a control plane without TLS',
      ['--node', 'n', '--zds', 'z', '--xds-address', 'http://x:1'],
      {},
      /https/,
    ],
  ];
  for (const [what, args, env, says] of wrong) {
    it(`names ${what} and what is allowed, in one line`, () => {
      assert.throws(
        () => readConfig(args, env),
        (error) => error instanceof ConfigError && says.test(error.message) && !error.message.includes('\n'),
      );
    });
  }
});
