import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { TokenFile } from '../../../../cli/local/tokens.ts';

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'loam-test-'))));
afterEach(() => rmSync(dir, { recursive: true }));

interface Entry {
  readonly node?: string;
  readonly gateway?: string;
  readonly token: string;
}

describe('local mesh: tokens', () => {
  const all = (): Entry[] =>
    (JSON.parse(readFileSync(join(dir, 'tokens.json'), 'utf8')) as { tokens: Entry[] }).tokens;
  const held = (file: string): string => readFileSync(join(dir, file), 'utf8');

  it('gives each holder one of its own, which only root can read', () => {
    const tokens = new TokenFile(join(dir, 'tokens.json'));
    assert.deepEqual(all(), []);
    tokens.issue({ node: 'node-a' }, join(dir, 'node/token'));
    tokens.issue({ gateway: 'shop/waypoint' }, join(dir, 'gateway/token'));
    assert.deepEqual(all(), [
      { node: 'node-a', token: held('node/token') },
      { gateway: 'shop/waypoint', token: held('gateway/token') },
    ]);
    assert.notEqual(held('node/token'), held('gateway/token'));
    for (const file of ['tokens.json', 'node/token', 'gateway/token'])
      assert.equal(statSync(join(dir, file)).mode & 0o777, 0o600);
  });

  it('replaces a token, and makes one void without touching the others', () => {
    const tokens = new TokenFile(join(dir, 'tokens.json'));
    tokens.issue({ node: 'a' }, join(dir, 'a'));
    tokens.issue({ gateway: 'a' }, join(dir, 'g'));
    const before = held('g');
    tokens.issue({ gateway: 'a' }, join(dir, 'g'));
    assert.notEqual(held('g'), before);
    assert.deepEqual(
      all().map(({ token }) => token),
      [held('a'), held('g')],
    );
    tokens.revoke({ gateway: 'a' });
    tokens.revoke({ gateway: 'nobody' });
    assert.deepEqual(all(), [{ node: 'a', token: held('a') }]);
  });
});
