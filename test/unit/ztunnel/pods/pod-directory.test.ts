import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { describe, it } from 'mocha';
import { PodDirectory } from '../../../../ztunnel/pods/pod-directory.ts';

const POD = { uid: 'uid-a', name: 'a', namespace: 'default', serviceAccount: 'a' };

describe('ztunnel/pods/pod-directory', () => {
  it('keeps no descriptor of a pod whose certificate cannot be had', async () => {
    const host = {
      setMaps: () => undefined,
      add: () => Promise.reject(new Error('must not be asked')),
      remove: () => undefined,
      release: () => undefined,
    };
    const identities = {
      acquire: () => {
        throw new Error('no such file');
      },
      release: () => undefined,
    };
    const [netns, outbound, plaintext, hbone] = [0, 1, 2, 3].map(() => openSync('/dev/null', 'r')) as [
      number,
      number,
      number,
      number,
    ];
    const pods = new PodDirectory(host, identities, 'cluster.local');
    await assert.rejects(pods.add(POD, { netns, outbound, plaintext, hbone }), /no such file/);
    for (const fd of [netns, outbound, plaintext, hbone]) {
      assert.throws(() => closeSync(fd), { code: 'EBADF' });
    }
    assert.deepEqual(pods.rows(), []);
  });
});
