import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { problemText } from '../../../agent/pod-source.ts';
import { parsePodsFile } from '../../../agent/pods-file.ts';
import { pod } from './fakes.ts';

const FILE = 'pods.json';
const parse = (...pods: unknown[]): ReturnType<typeof parsePodsFile> =>
  parsePodsFile(FILE, JSON.stringify({ pods }));

/** The problems, as an operator reads them. */
function problems(result: ReturnType<typeof parsePodsFile>): string[] {
  return result.problems.map(problemText);
}

describe('pods.json', () => {
  it('takes good entries, labels being optional', () => {
    const { labels: _labels, namespaceLabels: _namespaceLabels, ...plain } = pod('b');
    const result = parse(pod('a'), plain);
    assert.ok(result.readable);
    assert.deepEqual(result.problems, []);
    assert.deepEqual(result.pods.get('uid-a'), pod('a'));
    assert.deepEqual(result.pods.get('uid-b')?.labels, {});
  });

  it('takes one address of either family or one of each, and writes them in one form', () => {
    const given = [['198.18.0.1'], ['FD00::0001'], ['fd00:0::2', '198.18.0.2'], ['198.18.0.3', 'fd00::3']];
    const result = parse(...given.map((ips, i) => pod(`p${i}`, { ips })));
    assert.ok(result.readable);
    assert.deepEqual(
      [...result.pods.values()].map(({ ips }) => ips),
      [['198.18.0.1'], ['fd00::1'], ['fd00::2', '198.18.0.2'], ['198.18.0.3', 'fd00::3']],
    );
  });

  it('names file, entry, field and what is allowed', () => {
    const result = parse(pod('a'), { ...pod('b'), ips: ['fd00::1', 'fd00::2'] });
    assert.ok(result.readable);
    assert.deepEqual([...result.pods.keys()], ['uid-a'], 'the good one goes on');
    assert.deepEqual(problems(result), [
      'pods.json: pods[1] shop/b: ips: ["fd00::1","fd00::2"] is not allowed; allowed: a list of one IP address, or of one IPv4 and one IPv6 address, the primary first',
    ]);
  });

  const wrong: Record<string, [Record<string, unknown>, RegExp]> = {
    'an unknown field': [{ uuid: 'x' }, /pods\[0\] shop\/a: uuid: unknown field; allowed: uid, name/],
    'a missing field': [{ netns: undefined }, /netns: missing; allowed: an absolute path/],
    'a relative path': [{ netns: 'run/x' }, /netns: "run\/x" is not allowed/],
    'an upper-case name': [{ name: 'A' }, /name: "A" is not allowed; allowed: a DNS name/],
    'a number for a uid': [{ uid: 5 }, /uid: 5 is not allowed/],
    'a short IPv4 address': [{ ips: ['10.1'] }, /ips: \["10.1"\]/],
    'no address': [{ ips: [] }, /ips/],
    'three addresses': [{ ips: ['10.0.0.1', 'fd00::1', 'fd00::2'] }, /ips/],
    'two addresses of a family': [{ ips: ['10.0.0.1', '::ffff:10.0.0.2'] }, /ips/],
    'an address with a zone': [{ ips: ['fe80::1%eth0'] }, /ips/],
    'labels that are no strings': [
      { labels: { a: 1 } },
      /labels: \{"a":1\} is not allowed; allowed: an object of strings/,
    ],
    'labels that are a list': [{ labels: [] }, /labels/],
  };
  for (const [what, [change, message]] of Object.entries(wrong)) {
    it(`reports ${what}`, () =>
      assert.match(problems(parse({ ...pod('a'), ...change })).join('\n'), message));
  }

  it('refuses a list that no node can have, with one problem and not one for each entry', () => {
    const result = parse(...Array<null>(8193).fill(null));
    assert.deepEqual(problems(result), ['pods.json: 8193 entries; allowed: at most 8192']);
    assert.equal(result.readable, false);
  });

  it('reports a uid that comes twice', () => {
    const result = parse(pod('a'), pod('b', { uid: 'uid-a' }));
    assert.match(problems(result).join(), /pods\[1\] shop\/b: uid: uid-a is also the uid of shop\/a/);
  });

  for (const text of ['', '[]', '{}', 'null', '{"pods":{}}', '{"pods":[],"more":1}', '{"pods":[']) {
    it(`reports a file that is ${text === '' ? 'empty' : text}`, () => {
      const result = parsePodsFile(FILE, text);
      assert.ok(!result.readable);
      assert.match(problems(result).join(), /^pods.json: .*; allowed: /);
    });
  }

  it('never throws, and accounts for every entry, whatever the file has', () => {
    const entry = fc.oneof(
      fc.jsonValue(),
      fc.record({ uid: fc.jsonValue(), name: fc.jsonValue(), ips: fc.jsonValue() }),
    );
    fc.assert(
      fc.property(fc.array(entry), (entries) => {
        const result = parse(...entries);
        assert.ok(result.readable);
        assert.equal(result.pods.size + result.bad.length, entries.length);
        assert.equal(result.problems.length, result.bad.length);
        assert.ok(problems(result).every((line) => line.length < 600));
      }),
    );
  });
});
