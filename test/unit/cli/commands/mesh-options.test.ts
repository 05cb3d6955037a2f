import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { chooseMesh, openMesh, wordIn } from '../../../../cli/commands/mesh-options.ts';

describe('which mesh is meant', () => {
  it('is a local mesh or a cluster, not both', async () => {
    await assert.rejects(chooseMesh({ name: 'demo', context: 'staging' }), {
      code: 'MESH_INPUT',
      message: /--name is of a local mesh/,
    });
  });

  it('is told with what to do where there is none', async () => {
    await assert.rejects(openMesh({ name: 'nosuch' }), {
      code: 'MESH_STATE',
      message: /start one: loam local up/,
    });
    await assert.rejects(chooseMesh({ kubeconfig: '/nonexistent/kubeconfig' }), {
      code: 'INSTALL_ACCESS',
      message: /the kubeconfig is not usable.*--kubeconfig/,
    });
  });

  it('gives a name without a namespace that of -n', () => {
    assert.equal(wordIn({ namespace: 'shop' }, 'db:6379'), 'shop/db:6379');
    assert.equal(wordIn({ namespace: 'shop' }, 'service/db'), 'service/shop/db');
    assert.equal(wordIn({ namespace: 'shop' }, 'kiosk/db'), 'kiosk/db');
    assert.equal(wordIn({ namespace: 'shop' }, 'db.kiosk'), 'db.kiosk');
    assert.equal(wordIn({ namespace: 'shop' }, '10.0.0.1:80'), '10.0.0.1:80');
    assert.equal(wordIn({}, 'db'), 'db');
  });
});
