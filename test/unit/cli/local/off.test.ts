import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parseTarget, switchNetworking, undoText } from '../../../../cli/local/off.ts';
import { problemsOf } from '../../../../cli/local/problems.ts';
import { statusText } from '../../../../cli/local/status-text.ts';
import { pod, status } from './support/mesh-status.ts';

describe('cli/local/off', () => {
  it('reads what is to be switched', () => {
    assert.deepEqual(parseTarget([]), { kind: 'all' });
    assert.deepEqual(parseTarget(['node']), { kind: 'node', node: undefined });
    assert.deepEqual(parseTarget(['node', 'a']), { kind: 'node', node: 'a' });
    assert.deepEqual(parseTarget(['namespace', 'shop']), { kind: 'namespace', namespace: 'shop' });
    assert.deepEqual(parseTarget(['pod', 'shop/auth']), { kind: 'pod', namespace: 'shop', name: 'auth' });
  });

  it('refuses the rest, and says what is allowed', () => {
    for (const words of [
      ['pod'],
      ['pod', 'auth'],
      ['pod', 'a/b/c'],
      ['namespace'],
      ['namespace', ''],
      ['all'],
      ['node', 'a', 'b'],
    ])
      assert.throws(
        () => parseTarget(words),
        /allowed: pod NAMESPACE\/NAME, namespace NAMESPACE, node \[NAME\]/,
        words.join(' '),
      );
  });

  it('says where no local mesh runs, and what does the same in a cluster', () => {
    const said = (...words: string[]): RegExp =>
      new RegExp(
        `no local mesh nosuchmesh runs on this machine; in a cluster: kubectl label ${words.join(' ')} loam\\.dev/dataplane-mode=none --overwrite$`,
      );
    for (const to of ['off', 'on'] as const) {
      const run = (...words: string[]) => switchNetworking('nosuchmesh', parseTarget(words), to);
      assert.throws(() => run('pod', 'm/x'), said('pod', '--namespace', 'm', 'x'));
      assert.throws(() => run('namespace', 'm'), said('namespace', 'm'));
      assert.throws(() => run(), said('namespace', 'NAMESPACE'));
    }
  });

  it('names the command that undoes it', () => {
    assert.equal(undoText('local', 'pod shop/auth'), 'loam on pod shop/auth');
    assert.equal(undoText('demo', 'namespace shop'), 'loam on --name demo namespace shop');
    assert.equal(undoText('local', ''), 'loam on');
  });

  it('is loud in the status until it is undone, for a pod by itself and for all of a node', () => {
    const since = new Date('2026-01-02T03:04:05Z');
    for (const what of ['pod shop/auth', 'node node-a']) {
      const switched = status([pod('auth')], { off: [{ what, since }] });
      const found = problemsOf(switched).find((problem) => problem.what === what);
      assert.match(
        found?.why ?? '',
        /SWITCHED OFF since 2026-01-02T03:04:05.000Z: plain networking, no mTLS and no policy/,
      );
      assert.ok(found?.why.endsWith(`loam on ${what}`));
      assert.equal(found?.blocksStart, false);
      assert.match(
        statusText(switched),
        /shop\/auth .*enrolled, verified, SWITCHED OFF \(plain networking\)/,
      );
    }
    assert.doesNotMatch(statusText(status([pod('auth')])), /SWITCHED OFF/);
  });
});
