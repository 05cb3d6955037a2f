import assert from 'node:assert/strict';
import { isPathTemplate, parsePathTemplate } from '../../../lib/path-template.ts';
import { isAuthority, normalisePath, normaliseTarget } from '../../../lib/mesh/waypoint/normalise-path.ts';
import { anyPath } from '../../../lib/mesh/waypoint/security/path-template.ts';
import type { FuzzTarget } from '../engine/target.ts';

/** A request target in the first line, patterns of a policy in the others. */
export const target: FuzzTarget = {
  name: 'path',
  seeds: [
    '/a/b/c?x=1\n/a/{*}/c\n/a/{**}\n/a*\n*c',
    '/a/%2e%2e/b//c/./d\n/{**}/d',
    'http://web.shop:80/a?b\n/a',
    '/%2f..%5c%00\\\n/{*}{**}',
    '/a;b=c/..;/d\n/a/{**}/b/{*}',
    '*\n*',
  ],
  words: [
    '{*}',
    '{**}',
    '%2e',
    '%2F',
    '%5c',
    '/../',
    '/./',
    '//',
    '..;',
    '%c0%af',
    'http://',
    'HTTPS://',
    '?',
    '#',
  ],
  maxLength: 1_024,
  run(input) {
    const [text = '', ...patterns] = input.toString('latin1').split('\n');
    for (const [method, absolute] of [
      ['GET', true],
      ['OPTIONS', true],
      ['GET', false],
    ] as const) {
      const result = normaliseTarget(method, text, absolute);
      if (!result.ok) continue;
      const { path, query, authority } = result;
      if (authority !== undefined) assert.ok(isAuthority(authority), authority);
      assert.match(query, /^[\x21-\x7e]*$/);
      if (path === '*') continue;
      assertNormal(path);
      // What comes out goes in again, at the next proxy, and must mean the same there.
      const again = normaliseTarget(method, query === '' ? path : `${path}?${query}`, absolute);
      assert.deepEqual(again, { ok: true, path, query, authority: undefined });
    }
    const normal = normalisePath(text);
    if (!normal.ok) return;
    for (const pattern of patterns.slice(0, 8)) {
      const test = anyPath([pattern]);
      if (typeof test !== 'function') {
        assert.ok(isPathTemplate(pattern) && 'problem' in parsePathTemplate(pattern));
        continue;
      }
      assert.equal(test(normal.path), expected(pattern, normal.path), `${pattern} on ${normal.path}`);
    }
  },
};

function assertNormal(path: string): void {
  assert.match(path, /^\/[\x21-\x7e]*$/);
  assert.doesNotMatch(path, /\/\/|\\|\?|#|%00/);
  assert.doesNotMatch(path, /%(?![0-9A-F]{2})/);
  for (const segment of path.split('/')) {
    // As a server reads it that decodes all escapes, or cuts parameters off.
    const read = decodeURIComponentLoosely(segment);
    for (const part of read.split(/[/\\]/)) {
      const [bare = ''] = part.split(';');
      assert.ok(bare !== '.' && bare !== '..', `a dot segment hides in ${path}`);
    }
  }
}

function decodeURIComponentLoosely(text: string): string {
  return text.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

/** The meaning said a second time: a template as a regular expression, the rest by prefix, suffix, presence. */
function expected(pattern: string, path: string): boolean {
  if (isPathTemplate(pattern)) {
    const source = pattern
      .split('/')
      .map((s) => (s === '{*}' ? '[^/]+' : s === '{**}' ? '.*' : s.replace(/[^\w]/g, '\\$&')))
      .join('\\/');
    return new RegExp(`^${source}$`, 's').test(path);
  }
  if (pattern === '*') return path !== '';
  if (pattern.startsWith('*')) return path.endsWith(pattern.slice(1));
  if (pattern.endsWith('*')) return path.startsWith(pattern.slice(0, -1));
  return path === pattern;
}
