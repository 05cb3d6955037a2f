import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { anyPath } from '../../../../../../lib/mesh/waypoint/security/path-template.ts';

function matches(template: string, path: string): boolean {
  const test = anyPath([template]);
  assert.ok(typeof test === 'function', template);
  return test(path);
}

describe('path templates', () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['/foo/{*}', ['/foo/bar', '/foo/"x"'], ['/foo/', '/foo', '/foo/bar/baz', '/foo/bar/']],
    ['/foo/{**}', ['/foo/', '/foo/bar', '/foo/bar/baz'], ['/foo', '/food/x']],
    ['/foo/{**}/', ['/foo/bar/', '/foo/bar/baz.txt/', '/foo//'], ['/foo/bar', '/foo/']],
    [
      '/foo/{*}/bar/{**}',
      ['/foo/buzz/bar/', '/foo/buzz/bar/baz', '/foo/buzz/bar/baz/x'],
      ['/foo//bar/', '/foo/buzz/bar', '/foo/a/b/bar/x'],
    ],
    ['/{*}/{*}', ['/a/b'], ['/a', '/a/b/c']],
    ['/{**}/end', ['/a/end', '/a/b/end', '//end'], ['/end', '/a/end/x']],
  ];
  for (const [template, yes, no] of cases)
    it(template, () => {
      for (const path of yes) assert.equal(matches(template, path), true, path);
      for (const path of no) assert.equal(matches(template, path), false, path);
    });

  for (const bad of [
    '/{**}/foo/{*}',
    '/foo/{*}.txt',
    '/*/baz/{*}',
    'foo/{*}',
    '/{**}/{**}',
    '/{a}/{*}',
    '/{*',
  ])
    it(`refuses ${bad}`, () => {
      const test = anyPath([bad]);
      // Without an operator it is a text of Istio's value grammar.
      if (bad === '/{*') assert.ok(typeof test === 'function');
      else assert.ok(typeof test !== 'function' && test.problem.includes(bad));
    });
});
