import { describe, it } from 'mocha';
import { knownInputs } from '../../fuzz/engine/corpus.ts';
import { TARGET_NAMES, TARGETS } from '../../fuzz/targets/index.ts';

describe('test/fuzz/corpus', () => {
  for (const name of TARGET_NAMES) {
    it(`${name}: every input that fuzzing kept, and every one that once broke something`, async () => {
      const { target } = await TARGETS[name]();
      for (const input of knownInputs(target)) await target.run(input);
    });
  }
});
