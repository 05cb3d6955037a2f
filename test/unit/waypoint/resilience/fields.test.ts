import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import type { DescMessage } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { TrafficPolicySchema } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';

/** Not rules but what the policy is called, and matches that are tested as a whole. */
const WITHOUT_TEST = new Set(['namespace', 'name']);
const AS_A_WHOLE = new Set(['fault.headers']);

/** Names of all fields that say something, as tests are named for them. */
function fieldsOf(message: DescMessage, path = ''): string[] {
  return message.fields.flatMap((field) => {
    const name = `${path}${field.localName}`;
    if (path === '' && WITHOUT_TEST.has(name)) return [];
    return field.message === undefined || AS_A_WHOLE.has(name) ? [name] : fieldsOf(field.message, `${name}.`);
  });
}

describe('waypoint/resilience', () => {
  it('has a test that is named for each field of TrafficPolicy', () => {
    const folder = import.meta.dirname;
    const files = readdirSync(folder).filter((file) => /\.test\.[jt]s$/.test(file));
    const text = files.map((file) => readFileSync(`${folder}/${file}`, 'utf8')).join('\n');
    const titles = [...text.matchAll(/\bit\(\s*(['"`])(.*?)\1,/g)].map(([, , title]) => title ?? '');
    assert.ok(titles.length > 100);
    const missing = fieldsOf(TrafficPolicySchema).filter(
      (field) => !titles.some((title) => (title.split(':')[0] ?? '').split(/[ ,]+/).includes(field)),
    );
    assert.deepEqual(missing, []);
  });
});
