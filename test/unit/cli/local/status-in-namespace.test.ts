import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { statusInNamespace } from '../../../../cli/local/status-in-namespace.ts';
import { statusText } from '../../../../cli/local/status-text.ts';
import type { MeshStatus, ObjectStatus } from '../../../../cli/local/status.ts';
import { pod, status } from './support/mesh-status.ts';

const object = (kind: string, namespace: string, name: string): ObjectStatus => ({
  ...{ kind, namespace, name, file: 'a.yaml', state: 'accepted', compiledTo: [], lastGood: false },
});

function mesh(over: Partial<MeshStatus> = {}): MeshStatus {
  const objects = [
    object('Namespace', '', 'shop'),
    object('Service', 'shop', 'auth'),
    object('Service', 'kiosk', 'front'),
    object('Namespace', '', 'empty'),
  ];
  return status([pod('auth'), pod('front', { namespace: 'kiosk', ready: false })], {
    controller: { generation: 3, objects, files: [], nodes: [] },
    ...over,
  });
}

describe('loam status -n, of a local mesh', () => {
  it('lists the pods and objects of the namespace, and all that is not well', () => {
    const all = mesh();
    const text = statusText(all, statusInNamespace(all, 'shop'));
    assert.match(text, /PODS\n {2}shop\/auth .*\n\n/);
    assert.match(text, /OBJECTS .*\n {2}Namespace shop .*\n {2}Service shop\/auth .*\n\n/);
    assert.match(text, /PROGRAMS\n {2}controller/);
    assert.match(text, /NOT WELL\n {2}pod kiosk\/front: does not listen/, 'of the whole mesh');
    assert.match(statusText(all, statusInNamespace(all, 'empty')), /PODS\n {2}none\n/);
  });

  it('says which there are when there is none of that name', () => {
    assert.throws(() => statusInNamespace(mesh(), 'shopp'), {
      code: 'LOCAL_MESH_INPUT',
      message: /the mesh local has no namespace "shopp"; did you mean shop\?; there are: empty, kiosk, shop$/,
    });
    const blind: MeshStatus = { ...mesh() };
    delete (blind as { controller?: unknown }).controller;
    assert.deepEqual(
      statusInNamespace(blind, 'later').report.pods,
      [],
      'nobody can say that it is not there',
    );
  });
});
