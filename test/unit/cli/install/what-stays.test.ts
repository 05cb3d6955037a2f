import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { ApiObject } from '../../../../cli/install/cluster/api.ts';
import { whatStays } from '../../../../cli/install/what-stays.ts';

describe('loam uninstall: what stays', () => {
  const saying = (answer: () => Promise<ApiObject[]>): Promise<string[]> =>
    whatStays({ list: answer as never });
  const namespaces = (count: number): ApiObject[] =>
    Array.from({ length: count }, (_, i) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: `team-${i}`, uid: String(i) },
    }));

  it('names the namespaces that the next installation takes in again', async () => {
    const [, line = ''] = await saying(() => Promise.resolve(namespaces(2)));
    assert.match(
      line,
      /namespaces team-0, team-1\. To take a label off: .* team-0 loam\.dev\/dataplane-mode-$/,
    );
    const [, many = ''] = await saying(() => Promise.resolve(namespaces(200)));
    assert.match(many, /team-9 and 190 more\./);
  });

  it('names none where there is none, or they may not be read', async () => {
    assert.equal((await saying(() => Promise.resolve([]))).length, 1);
    assert.equal((await saying(() => Promise.reject(new Error('forbidden')))).length, 1);
  });
});
