import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { OffWatch } from '../../../agent/off-watch.ts';

describe('agent/off-watch', () => {
  it('tells what is switched off, reminds of it, and tells when it is on again', () => {
    const lines: string[] = [];
    const say = (fields: object, text: string): void => void lines.push(`${JSON.stringify(fields)} ${text}`);
    const log = { debug: say, info: say, warn: say, error: say } as unknown as ConstructorParameters<
      typeof OffWatch
    >[1];
    const off: { node: Date | undefined; pods: Map<bigint, Date> } = { node: undefined, pods: new Map() };
    const watch = new OffWatch({ switchedOff: () => off }, log);
    watch.look([], 0);
    assert.equal(lines.length, 0);
    off.node = new Date(0);
    off.pods.set(7n, new Date(0));
    watch.look([], 0);
    watch.look([], 1000);
    assert.equal(lines.length, 2);
    assert.match(lines.join('\n'), /"cookie":"7".*plain networking/);
    assert.match(lines.join('\n'), /the whole node.*no mTLS and no policy/);
    watch.look([], 11 * 60_000);
    assert.equal(lines.length, 4, 'a reminder of each');
    off.node = undefined;
    off.pods.clear();
    watch.look([], 12 * 60_000);
    watch.look([], 13 * 60_000);
    assert.equal(lines.filter((line) => line.includes('on again')).length, 2);
  });
});
