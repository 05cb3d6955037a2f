import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, before, beforeEach, describe, it } from 'mocha';
import { JwksCache } from '../../../../waypoint/security/jwks-cache.ts';
import type { JwksTiming, KeySource } from '../../../../waypoint/security/jwks-entry.ts';
import { MAX_JWKS_BYTES } from '../../../../waypoint/security/jwks-load.ts';
import { parseJwks } from '../../../../waypoint/security/jwks.ts';
import { type IssuerKey, jwks, jwksServer, type JwksServer, makeKey, until } from './issuer.ts';

const HOUR = 3_600_000;
/** Nothing happens by itself within a test unless it asks for it. */
const STILL: JwksTiming = {
  refreshMs: HOUR,
  fileCheckMs: HOUR,
  unknownKeyMs: HOUR,
  retry: { initialMs: HOUR, maxMs: HOUR },
};

describe('JwksCache', () => {
  let one: IssuerKey, two: IssuerKey;
  let server: JwksServer;
  let cache: JwksCache;
  /** What was told of fetches: address and outcome. */
  let fetches: string[];

  before(async () => {
    one = await makeKey('one');
    two = await makeKey('two');
  });
  beforeEach(async () => {
    server = await jwksServer(jwks(one));
  });
  afterEach(async () => {
    cache.close();
    await server.close();
  });

  function follow(timing: Partial<JwksTiming> = {}, timeout = 0, uri = server.uri): KeySource {
    fetches = [];
    cache = new JwksCache({
      ...{ timing: { ...STILL, ...timing }, check: () => undefined, folder: tmpdir() },
      onFetch: (...fetch) => void fetches.push(fetch.join(' ')),
    });
    return cache.acquire({ jwks: '', jwksUri: uri, timeout });
  }
  async function kids(source: KeySource): Promise<unknown[]> {
    return ((await source.current())?.resolve.jwks().keys ?? []).map(({ kid }) => kid);
  }

  it('fetches a URL once for all that use it, and lets go after the last', async () => {
    const source = follow();
    const again = cache.acquire({ jwks: '', jwksUri: server.uri, timeout: 0 });
    assert.deepEqual(await Promise.all([kids(source), kids(again)]), [['one'], ['one']]);
    assert.equal(server.requests(), 1);
    assert.deepEqual(fetches, [`${server.uri} success`]);
    cache.release(source);
    assert.equal(cache.states().length, 1);
    cache.release(again);
    assert.equal(cache.states().length, 0);
  });

  it('refreshes in the background', async () => {
    const source = follow({ refreshMs: 5 });
    assert.deepEqual(await kids(source), ['one']);
    server.answer((_, response) => response.end(jwks(two)));
    await until(async () => (await kids(source))[0] === 'two');
    assert.ok(cache.states()[0]?.loadedAt instanceof Date);
  });

  it('honours a set without keys', async () => {
    server.answer((_, response) => response.end('{"keys":[]}'));
    assert.equal((await follow().current())?.size, 0);
  });

  const outages: Record<string, Parameters<JwksServer['answer']>[0]> = {
    'an error': (_, response) => void response.writeHead(500).end(),
    'a reset': (request) => void request.socket.destroy(),
    'an answer cut short': (request, response) => {
      response.writeHead(200, { 'content-length': '1000' }).write('{"keys":[');
      setImmediate(() => request.socket.destroy());
    },
    garbage: (_, response) => void response.end('<html>'),
    'JSON that is no key set': (_, response) => void response.end('[]'),
    'secrets only': (_, response) => void response.end('{"keys":[{"kty":"oct","k":"AAAA"}]}'),
    'too many keys': (_, response) =>
      void response.end(JSON.stringify({ keys: Array<object>(101).fill(one.jwk) })),
    'a huge body': (_, response) => {
      const chunk = Buffer.alloc(1 << 16, 0x20);
      const more = (): void => {
        while (!response.destroyed && response.write(chunk));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    },
    'a redirect': (_, response) => void response.writeHead(302, { location: '/other' }).end(),
    silence: () => undefined,
  };
  for (const [name, how] of Object.entries(outages)) {
    it(`keeps the last good keys through ${name}, says so, and recovers`, async () => {
      const source = follow({ refreshMs: 5, retry: { initialMs: 5, maxMs: 5 } }, 100);
      assert.deepEqual(await kids(source), ['one']);
      server.answer(how);
      await until(() => source.problem !== undefined);
      assert.deepEqual(await kids(source), ['one']);
      assert.ok((cache.states()[0]?.failuresInARow ?? 0) > 0);
      server.answer((_, response) => response.end(jwks(two)));
      await until(async () => (await kids(source))[0] === 'two');
      assert.equal(source.problem, undefined);
    });

    it(`has no keys when it begins with ${name}`, async () => {
      server.answer(how);
      const source = follow({}, 100);
      assert.equal(await source.current(), undefined);
      assert.notEqual(source.problem, undefined);
      await source.current();
      assert.deepEqual(fetches, [`${server.uri} failure`], 'asking for keys does not fetch again');
      // None at all where the time was over before it came there.
      assert.ok(server.requests() <= 1);
    });
  }

  it('bounds what it reads', async () => {
    server.answer((_, response) => response.end(Buffer.alloc(MAX_JWKS_BYTES + 1, 0x20)));
    const source = follow();
    await source.current();
    assert.match(source.problem ?? '', /more than 1048576 bytes/);
  });

  it('fetches for an unknown key once, for all who ask at once, and not again for a while', async () => {
    const source = follow({ unknownKeyMs: 0 });
    const old = await source.current();
    assert.ok(old);
    server.answer((_, response) => response.end(jwks(one, two)));
    const [a, b] = await Promise.all([source.newerThan(old), source.newerThan(old)]);
    assert.equal(a?.size, 2);
    assert.equal(a, b);
    assert.equal(server.requests(), 2);
    assert.equal(
      await source.newerThan(old),
      a,
      'who comes late with old keys gets the newer without a fetch',
    );
    assert.equal(server.requests(), 2);

    const strict = follow({ unknownKeyMs: HOUR });
    const known = await strict.current();
    assert.ok(known);
    const before = server.requests();
    for (let i = 0; i < 20; i++) assert.equal(await strict.newerThan(known), undefined);
    assert.equal(server.requests(), before);
  });

  it('gives up what is under way when it is closed', async () => {
    let cut = false;
    server.answer((request) => void request.socket.on('close', () => (cut = true)));
    const source = follow({}, 30_000);
    await until(() => server.requests() === 1);
    cache.close();
    assert.equal(await source.current(), undefined);
    await until(() => cut);
    assert.deepEqual(fetches, [], 'which is no failure');
  });

  describe('files', () => {
    let dir: string;
    beforeEach(async () => {
      dir = await mkdtemp(join(tmpdir(), 'loam-jwks-'));
    });
    afterEach(() => rm(dir, { recursive: true }));

    it('are read again when they change, and kept when they break or go', async () => {
      const path = join(dir, 'keys.json');
      await writeFile(path, jwks(one));
      const source = follow({ fileCheckMs: 5 }, 0, pathToFileURL(path).href);
      assert.deepEqual(await kids(source), ['one']);
      const loaded = await source.current();
      await until(() => cache.states()[0]?.loadedAt !== undefined);
      assert.equal(await source.current(), loaded, 'an unchanged file gives the same keys');
      await writeFile(join(dir, 'next'), jwks(two));
      await rename(join(dir, 'next'), path);
      await until(async () => (await kids(source))[0] === 'two');
      await writeFile(path, 'broken');
      await until(() => source.problem !== undefined);
      assert.deepEqual(await kids(source), ['two']);
      await rm(path);
      await until(() => source.problem?.includes('could not be read') === true);
      assert.deepEqual(await kids(source), ['two']);
      await writeFile(path, jwks(one));
      await until(async () => (await kids(source))[0] === 'one');
      assert.deepEqual(fetches, []);
    });

    it('that are none are refused and hold nothing up', async () => {
      const fifo = join(dir, 'fifo');
      execFileSync('mkfifo', [fifo]);
      for (const path of [fifo, dir]) {
        const source = follow({}, 0, pathToFileURL(path).href);
        assert.equal(await source.current(), undefined);
        assert.match(source.problem ?? '', /is not a file/);
        cache.close();
      }
    });
  });

  it('takes keys that are written in the rule', async () => {
    cache = new JwksCache();
    assert.deepEqual(await kids(cache.acquire({ jwks: jwks(one), jwksUri: '', timeout: 0 })), ['one']);
    const broken = cache.acquire({ jwks: '{', jwksUri: server.uri, timeout: 0 });
    assert.equal(await broken.current(), undefined);
    assert.match(broken.problem ?? '', /not JSON/);
    for (const jwksUri of ['', 'ftp://x/y', 'http://', 'file://host/x', 'file:///a%2Fb'])
      assert.equal(await cache.acquire({ jwks: '', jwksUri, timeout: 0 }).current(), undefined);
    assert.equal(server.requests(), 0);
  });

  describe('fetches nothing from where only the waypoint can reach', () => {
    async function problem(uri: string): Promise<string> {
      cache = new JwksCache({ timing: STILL });
      const source = cache.acquire({ jwks: '', jwksUri: uri, timeout: 0 });
      assert.equal(await source.current(), undefined);
      return source.problem ?? '';
    }

    for (const [host, what] of [
      ['127.0.0.1', /127\.0\.0\.1 is a loopback address/],
      ['2130706433', /127\.0\.0\.1 is a loopback address/],
      ['[::ffff:127.0.0.1]', /is a loopback address/],
      ['0.0.0.0', /is an unspecified address/],
      ['[::1]', /::1 is a loopback address/],
      ['localhost', /is a loopback address/],
    ] as const) {
      it(host, async () => {
        const { port } = new URL(server.uri);
        assert.match(await problem(`http://${host}:${port}/jwks`), what);
        assert.equal(server.requests(), 0);
      });
    }
    it('a metadata service, and a file that is not below the folder of keys', async () => {
      assert.match(await problem('http://169.254.169.254/latest/meta-data'), /is a link-local address/);
      for (const uri of ['file:///proc/self/environ', 'file:///etc/loam/jwks/../../passwd'])
        assert.match(await problem(uri), /is not below \/etc\/loam\/jwks/);
    });
    it('nor by a redirect', async () => {
      server.answer((_, response) => response.writeHead(302, { location: 'http://169.254.169.254/' }).end());
      const source = follow();
      assert.equal(await source.current(), undefined);
      assert.match(source.problem ?? '', /answered 302/);
    });
    it('and looks at every address of a name', async () => {
      const asked: string[] = [];
      cache = new JwksCache({ timing: STILL, check: (ip) => (asked.push(ip), undefined) });
      const uri = server.uri.replace('127.0.0.1', 'localhost');
      assert.equal((await cache.acquire({ jwks: '', jwksUri: uri, timeout: 0 }).current())?.size, 1);
      assert.ok(asked.includes('127.0.0.1'), asked.join());
    });
  });

  it('refuses a set with a private key, and does not quote it', () => {
    const text = JSON.stringify({ keys: [{ ...one.jwk, d: 'secret' }] });
    assert.throws(() => parseJwks(text), /private key/);
    assert.throws(
      () => parseJwks('{"keys": secret'),
      (error: Error) => !error.message.includes('secret'),
    );
  });
});
