import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ConfigError } from '../../../lib/flags.ts';
import { readConfig } from '../../../waypoint/config.ts';

const NEEDED = [
  ...['--gateway', 'shop/waypoint'],
  ...['--xds-address', 'https://198.18.0.1:15012', '--ca-address', 'https://198.18.0.1:15012'],
  ...['--xds-root', '/r.pem', '--ca-root', '/r.pem', '--token', '/t'],
];

describe('waypoint/config', () => {
  it('has defaults for what need not be said', () => {
    const config = readConfig(NEEDED, {});
    assert.deepEqual(config.gateway, { namespace: 'shop', name: 'waypoint' });
    assert.deepEqual(config.listen, { host: '::', port: 15008 });
    assert.deepEqual(config.admin, { host: '127.0.0.1', port: 15000 });
    assert.deepEqual(
      [config.trustDomain, config.clusterId, config.network],
      ['cluster.local', 'Kubernetes', ''],
    );
    assert.deepEqual(config.xds, {
      address: 'https://198.18.0.1:15012',
      rootFile: '/r.pem',
      tokenFile: '/t',
    });
    assert.deepEqual(config.ca, config.xds);
    assert.deepEqual([config.logLevel, config.drainDeadlineMs], ['info', 30_000]);
    assert.ok(config.workers >= 1);
  });

  it('reads the environment where there is no flag, and the flag before it', () => {
    const env = { LOAM_WORKERS: '3', LOAM_MAX_TUNNELS: '7', LOAM_GATEWAY: 'other/gateway' };
    const config = readConfig([...NEEDED, '--max-tunnels', '9'], env);
    assert.deepEqual([config.workers, config.maxTunnels, config.gateway.namespace], [3, 9, 'shop']);
  });

  const without = (flag: string) => NEEDED.toSpliced(NEEDED.indexOf(flag), 2);
  const wrong: [what: string, args: string[], env: Record<string, string>, says: RegExp][] = [
    ['an unknown flag', [...NEEDED, '--gatewy', 'x'], {}, /gatewy.*allowed: --gateway/],
    ['an argument that is no flag', [...NEEDED, 'x'], {}, /allowed: --gateway/],
    [
      'a missing one',
      without('--gateway'),
      {},
      /^--gateway \(or LOAM_GATEWAY\): missing; allowed: NAMESPACE\/NAME/,
    ],
    [
      'a Gateway without namespace',
      [...NEEDED, '--gateway', 'waypoint'],
      {},
      /^--gateway: "waypoint".*NAMESPACE\/NAME/,
    ],
    ['a Gateway of two slashes', [...NEEDED, '--gateway', 'a/b/c'], {}, /^--gateway: "a\/b\/c"/],
    [
      'an address without TLS',
      without('--ca-address'),
      { LOAM_CA_ADDRESS: 'http://x:1' },
      /^LOAM_CA_ADDRESS: "http:\/\/x:1".*https:\/\/HOST:PORT/,
    ],
    [
      'an impossible address',
      [...NEEDED, '--listen', '256.0.0.1:1'],
      {},
      /^--listen: "256.0.0.1:1".*IPV4:PORT/,
    ],
    ['an IPv6 address without brackets', [...NEEDED, '--ready', '::1:80'], {}, /^--ready: .*\[IPV6\]:PORT/],
    ['no address in brackets', [...NEEDED, '--ready', '[:::]:80'], {}, /^--ready: /],
    ['an impossible port', [...NEEDED, '--ready', '0.0.0.0:65536'], {}, /^--ready: "0.0.0.0:65536"/],
    [
      'a bad variable',
      NEEDED,
      { LOAM_LOG_LEVEL: 'loud' },
      /^LOAM_LOG_LEVEL: "loud".*debug, info, warn, error/,
    ],
    ['no worker at all', [...NEEDED, '--workers', '0'], {}, /^--workers: 0 .*at least 1/],
    ['a number that is none', [...NEEDED, '--max-connections', '-1'], {}, /max-connections/],
    [
      'a variable that is no number',
      NEEDED,
      { LOAM_CERT_TTL_S: '1h' },
      /^LOAM_CERT_TTL_S: "1h".*whole number/,
    ],
  ];
  for (const [what, args, env, says] of wrong) {
    it(`names ${what}, its value and what is allowed, in one line`, () => {
      assert.throws(
        () => readConfig(args, env),
        (error) => {
          assert.ok(error instanceof ConfigError);
          assert.match(error.message, says);
          return !error.message.includes('\n');
        },
      );
    });
  }
});
