import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  isAuthority,
  normalisePath,
  normaliseTarget,
  type TargetProblem,
} from '../../../../../lib/mesh/waypoint/normalise-path.ts';

/** The table of docs/path-normalisation.md. */
const PATHS: [string, string][] = [
  ['/', '/'],
  ['/a', '/a'],
  ['/a/', '/a/'],
  ['/a/b.c/~d-e_f', '/a/b.c/~d-e_f'],
  ["/a!$&'()*+,;=:@", "/a!$&'()*+,;=:@"],
  // escapes
  ['/%61%41%30%2d%2e%5f%7e', '/aA0-._~'],
  ['/%2561', '/%2561'],
  ['/%c3%a9', '/%C3%A9'],
  ['/%21%24%26%27%28%29%2a%2b%2c%3b%3d%3a%40', '/%21%24%26%27%28%29%2A%2B%2C%3B%3D%3A%40'],
  ['/a%2fb', '/a%2Fb'],
  ['/a%5cb', '/a%5Cb'],
  ['/a%3fb%23c', '/a%3Fb%23c'],
  ['/a%0db', '/a%0Db'],
  // raw bytes that no path may hold
  ['/\xc3\xa9', '/%C3%A9'],
  ['/{a}|b^`"<>[]', '/%7Ba%7D%7Cb%5E%60%22%3C%3E%5B%5D'],
  // dot segments
  ['/.', '/'],
  ['/..', '/'],
  ['/a/.', '/a/'],
  ['/a/./b', '/a/b'],
  ['/a/..', '/'],
  ['/a/b/..', '/a/'],
  ['/a/../b', '/b'],
  ['/a/b/../../c', '/c'],
  ['/../../a', '/a'],
  ['/a/%2e%2e/b', '/b'],
  ['/a/.%2E/b', '/b'],
  ['/a/.b', '/a/.b'],
  ['/a/..b', '/a/..b'],
  ['/a/...', '/a/...'],
  ['/.well-known/x', '/.well-known/x'],
  ['/a..;b', '/a..;b'],
  // slashes, after dot segments
  ['//', '/'],
  ['//a', '/a'],
  ['/a//b', '/a/b'],
  ['/a///b//', '/a/b/'],
  ['/a//../b', '/a/b'],
  ['/a/..//b', '/b'],
];

const REFUSED: [string, TargetProblem][] = [
  ['', 'empty'],
  ['a', 'not-a-path'],
  ['*', 'not-a-path'],
  ['/%', 'escape'],
  ['/%4', 'escape'],
  ['/%g1', 'escape'],
  ['/%u0041', 'escape'],
  ['/%00', 'null'],
  ['/a\\b', 'backslash'],
  ['/a b', 'character'],
  ['/a\tb', 'character'],
  ['/a\r\nb', 'character'],
  ['/a\x7f', 'character'],
  ['/a\u0100', 'character'],
  ['/a\ud83d\ude00', 'character'],
  ['/a?b', 'character'],
  ['/a#b', 'character'],
  ['/a/..;/b', 'hidden-dot-segment'],
  ['/a/..;x=1/b', 'hidden-dot-segment'],
  ['/a/.;/b', 'hidden-dot-segment'],
  ['/a/..%2fb', 'hidden-dot-segment'],
  ['/a%2f..%2fb', 'hidden-dot-segment'],
  ['/a%2f%2e%2e', 'hidden-dot-segment'],
  ['/a/%2e%2e%5cb', 'hidden-dot-segment'],
  ['/a%5c.', 'hidden-dot-segment'],
];

/** Pieces that mean something to somebody who reads paths. */
const piece = fc.constantFrom(
  ...[
    '/',
    '//',
    '.',
    '..',
    ';',
    '%',
    '%2',
    '%2e',
    '%2E',
    '%2f',
    '%2F',
    '%5c',
    '%25',
    '%252e',
    '%00',
    '%61',
    '%3b',
  ],
  ...['a', 'b', ':', '@', '\\', '?', '#', ' ', '\0', '\xe9', '{', '*', '=', '&', '~', '-'],
);
const path = fc.oneof(
  fc.array(piece, { maxLength: 14 }).map((pieces) => `/${pieces.join('')}`),
  fc.string({ unit: 'binary-ascii', maxLength: 30 }).map((text) => `/${text}`),
);

describe('the normal form of a path', () => {
  for (const [raw, normal] of PATHS) {
    it(`of ${JSON.stringify(raw)} is ${normal}`, () =>
      assert.deepEqual(normalisePath(raw), { ok: true, path: normal }));
  }
  for (const [raw, problem] of REFUSED) {
    it(`does not exist for ${JSON.stringify(raw)}: ${problem}`, () =>
      assert.deepEqual(normalisePath(raw), { ok: false, problem }));
  }

  it('is its own normal form', () =>
    fc.assert(
      fc.property(path, (raw) => {
        const once = normalisePath(raw);
        if (once.ok) assert.deepEqual(normalisePath(once.path), once);
      }),
      { numRuns: 20_000 },
    ));

  it('has no dot segment, no empty element, no letter in an escape, and nothing that no path may hold', () =>
    fc.assert(
      fc.property(path, (raw) => {
        const normal = normalisePath(raw);
        if (!normal.ok) return;
        assert.match(normal.path, /^\/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-F]{2})*$/);
        assert.doesNotMatch(normal.path, /\/\//);
        for (const element of normal.path.split(/\/|%2F|%5C/)) assert.doesNotMatch(element, /^\.{1,2}(;|$)/);
        for (const [, hex] of normal.path.matchAll(/%(..)/g)) {
          assert.doesNotMatch(String.fromCharCode(parseInt(hex ?? '', 16)), /[A-Za-z0-9\-._~]|\0/);
        }
      }),
      { numRuns: 20_000 },
    ));

  it('is the same for every spelling of unreserved characters', () =>
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...'abz09-._~/'), fc.boolean())), (characters) => {
        const plain = `/${characters.map(([c]) => c).join('')}`;
        const escape = (c: string): string => `%${c.charCodeAt(0).toString(16)}`;
        const spelt = `/${characters.map(([c, escaped]) => (escaped && c !== '/' ? escape(c) : c)).join('')}`;
        assert.deepEqual(normalisePath(spelt), normalisePath(plain));
      }),
    ));
});

describe('the target of a request', () => {
  const good: [string, string, { path: string; query: string; authority?: string }][] = [
    ['GET', '/a?b=c', { path: '/a', query: 'b=c' }],
    ['GET', '/a?', { path: '/a', query: '' }],
    ['GET', '/a?b?c', { path: '/a', query: 'b?c' }],
    ['GET', '/%61?%61=../%2f//\\', { path: '/a', query: '%61=../%2f//\\' }],
    ['GET', '/a?\xe9', { path: '/a', query: '%E9' }],
    ['GET', '//evil.example/a', { path: '/evil.example/a', query: '' }],
    ['OPTIONS', '*', { path: '*', query: '' }],
    ['GET', 'http://A.example:80/%61?b', { path: '/a', query: 'b', authority: 'a.example:80' }],
    ['GET', 'HTTPS://a.example', { path: '/', query: '', authority: 'a.example' }],
    ['GET', 'http://a.example?b', { path: '/', query: 'b', authority: 'a.example' }],
    ['GET', 'http://a.example?b/../c', { path: '/', query: 'b/../c', authority: 'a.example' }],
    ['OPTIONS', 'http://a.example', { path: '*', query: '', authority: 'a.example' }],
    ['OPTIONS', 'http://a.example/', { path: '/', query: '', authority: 'a.example' }],
    ['GET', 'http://[fd00::1]:8080/', { path: '/', query: '', authority: '[fd00::1]:8080' }],
  ];
  for (const [method, target, { path: expected, query, authority }] of good) {
    it(`${method} ${JSON.stringify(target)}`, () =>
      assert.deepEqual(normaliseTarget(method, target, true), {
        ok: true,
        path: expected,
        query,
        authority,
      }));
  }

  const bad: [string, string, TargetProblem][] = [
    ['GET', '', 'empty'],
    ['GET', '*', 'asterisk'],
    ['GET', '?a', 'empty'],
    ['GET', 'a/b', 'not-a-path'],
    ['GET', '/a#b', 'fragment'],
    ['GET', '/a?b#c', 'fragment'],
    ['GET', '/a?b c', 'character'],
    ['GET', '/a?b\r\nx: y', 'character'],
    ['GET', '/a?\u0100', 'character'],
    ['GET', 'ftp://a.example/', 'not-a-path'],
    ['GET', 'http:///a', 'authority'],
    ['GET', 'http://user@a.example/', 'authority'],
    ['GET', 'http://a.example:99999/', 'authority'],
    ['GET', 'http://a.example\\@b/', 'authority'],
    ['GET', 'http://a.example/%00', 'null'],
    ['CONNECT', 'a.example:443', 'not-a-path'],
  ];
  for (const [method, target, problem] of bad) {
    it(`${method} ${JSON.stringify(target)} is refused: ${problem}`, () =>
      assert.deepEqual(normaliseTarget(method, target, true), { ok: false, problem }));
  }

  it('has no scheme in HTTP/2', () =>
    assert.deepEqual(normaliseTarget('GET', 'http://a.example/', false), {
      ok: false,
      problem: 'not-a-path',
    }));

  it('knows an authority', () => {
    for (const text of ['a', 'a.example:80', 'payments.shop.svc.', '10.0.0.1:8080', '[::1]', '[::1]:80']) {
      assert.ok(isAuthority(text), text);
    }
    for (const text of [
      '',
      ':80',
      'a:',
      'a:b',
      'a:65536',
      'a b',
      'a,b',
      'a/b',
      'u@a',
      'a%2e',
      '::1',
      '[a',
      'a\r\n',
    ]) {
      assert.ok(!isAuthority(text), text);
    }
  });
});
