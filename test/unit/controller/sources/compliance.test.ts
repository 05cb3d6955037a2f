import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, describe } from 'mocha';
import { KubernetesSource } from '../../../../controller/sources/kubernetes/source.ts';
import { READ_KINDS } from '../../../../controller/sources/kubernetes/kinds.ts';
import { NO_ASSIGNMENTS } from '../../../../controller/sources/assignments.ts';
import { DirectorySource } from '../../../../controller/sources/directory.ts';
import { LastGoodStore } from '../../../../controller/sources/last-good.ts';
import { KubeClient } from '../../../../lib/kubernetes/client.ts';
import { FakeKubeApi } from '../../../support/fake-kube-api.ts';
import {
  describeCompliance,
  keyOf,
  type Manifest,
  MESH,
  type SourceBench,
} from '../../../support/source-compliance.ts';
import { replaceFile, SILENT, temporaryDir } from '../harness.ts';

async function openDirectory(): Promise<SourceBench> {
  const dir = await temporaryDir();
  const manifests = join(dir.path, 'manifests');
  const state = join(dir.path, 'state');
  for (const each of [manifests, state]) await mkdir(each);
  const source = new DirectorySource({
    dir: manifests,
    store: new LastGoodStore(state),
    log: SILENT,
    ...MESH,
  });
  await source.start();
  const fileOf = (object: Manifest): string => join(manifests, `${keyOf(object).replaceAll('/', '_')}.yaml`);
  return {
    source,
    assignments: () => NO_ASSIGNMENTS,
    put: (object) => replaceFile(fileOf(object), JSON.stringify(object)),
    remove: (object) => rm(fileOf(object)),
    [Symbol.asyncDispose]: async () => {
      await source.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

async function openFake(): Promise<SourceBench> {
  const api = await FakeKubeApi.start();
  api.serve(...READ_KINDS.map(({ path }) => path));
  const client = new KubeClient(api.access);
  const source = new KubernetesSource({ client, log: SILENT, ...MESH });
  await source.start();
  const pathOf = ({ kind }: Manifest): string => READ_KINDS.find((each) => each.kind === kind)?.path ?? '';
  return {
    source,
    assignments: () => source.assignments.current,
    put: (object) => {
      // As a real one does: items of its own kinds do not say what they are, and much is filled in.
      const { apiVersion, kind, ...rest } = object;
      const filled = {
        ...rest,
        metadata: { ...rest.metadata, managedFields: [{ manager: 'x' }], selfLink: '/x' },
      };
      api.put(
        pathOf(object),
        kind === 'Pod' || kind === 'Service' ? filled : { apiVersion, kind, ...filled },
      );
      return Promise.resolve();
    },
    remove: ({ kind, metadata: { name, namespace }, ...rest }) => {
      const key = namespace === undefined ? name : `${namespace}/${name}`;
      api.remove(pathOf({ kind, metadata: { name }, ...rest }), key);
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: async () => {
      await source.close();
      client.close();
      await api[Symbol.asyncDispose]();
    },
  };
}

describe('sources/compliance', () => {
  describeCompliance('a directory of manifests', openDirectory);
  // One server and one source for all: each scenario has a namespace of its own.
  let shared: Promise<SourceBench> | undefined;
  after(async () => (await shared)?.[Symbol.asyncDispose]());
  describeCompliance('the Kubernetes API', async () => {
    shared ??= openFake();
    return { ...(await shared), [Symbol.asyncDispose]: () => Promise.resolve() };
  });
});
