import assert from 'node:assert/strict';
import type { V1DaemonSet, V1Deployment, V1PodSpec, V1PolicyRule } from '@kubernetes/client-node';
import { describe, it } from 'mocha';
import type { Manifest } from '../../../../cli/install/render/manifest.ts';
import { objectsOf } from '../../../../cli/install/render/objects.ts';
import { valuesOf, valuesOfSet } from '../../../../cli/install/values.ts';
import { READ_KINDS } from '../../../../controller/sources/kubernetes/kinds.ts';
import { readConfig as readZtunnelConfig } from '../../../../ztunnel/config.ts';

const NAMESPACE = 'loam-system';

function rendered(...sets: string[]): Manifest[] {
  return objectsOf({ namespace: NAMESPACE, values: valuesOf(sets.map(valuesOfSet)) });
}

function find<T>(objects: readonly Manifest[], kind: string, name: string): T {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  assert(found !== undefined, `${kind} ${name}`);
  return found as unknown as T;
}

function podOf(objects: readonly Manifest[], program: 'controller' | 'agent' | 'ztunnel'): V1PodSpec {
  const kind = program === 'controller' ? 'Deployment' : 'DaemonSet';
  const spec = find<V1Deployment | V1DaemonSet>(objects, kind, `loam-${program}`).spec?.template.spec;
  assert(spec !== undefined);
  return spec;
}

const PROGRAMS = ['controller', 'agent', 'ztunnel'] as const;

describe('the objects of an installation', () => {
  it('names each object once', () => {
    const names = rendered().map(
      ({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`,
    );
    assert.equal(new Set(names).size, names.length);
  });

  it('confines each container: no new privileges, nothing written into the image, capabilities by name', () => {
    const objects = rendered();
    const capabilities = PROGRAMS.map((program) => {
      const { containers, initContainers } = podOf(objects, program);
      assert.equal(initContainers, undefined);
      assert.equal(containers.length, 1);
      const context = containers[0]?.securityContext;
      assert.equal(context?.allowPrivilegeEscalation, false, program);
      assert.equal(context?.readOnlyRootFilesystem, true, program);
      assert.equal(context?.privileged, undefined, program);
      assert.deepEqual(context?.seccompProfile, { type: 'RuntimeDefault' }, program);
      assert.deepEqual(context?.capabilities?.drop, ['ALL'], program);
      return context.capabilities.add ?? [];
    });
    assert.deepEqual(capabilities, [[], ['NET_ADMIN', 'SYS_ADMIN', 'SYS_PTRACE'], ['SYS_ADMIN']]);
  });

  it('keeps the controller from root and from the node', () => {
    const pod = podOf(rendered(), 'controller');
    assert.equal(pod.securityContext?.runAsNonRoot, true);
    assert.equal(pod.hostNetwork, undefined);
    assert.equal(pod.hostPID, undefined);
    assert(pod.volumes?.every(({ hostPath }) => hostPath === undefined));
  });

  it('gives ztunnel a network of its own, and no token of the API server', () => {
    const objects = rendered();
    const pod = podOf(objects, 'ztunnel');
    assert.equal(pod.hostNetwork, undefined);
    assert.equal(pod.hostPID, undefined);
    assert.equal(pod.automountServiceAccountToken, false);
    const sources = pod.volumes?.flatMap(({ projected }) => projected?.sources ?? []) ?? [];
    assert.deepEqual(
      sources.map(({ serviceAccountToken }) => serviceAccountToken?.audience),
      ['loam'],
    );
    const bound = objects.flatMap((object) =>
      'subjects' in object ? (object.subjects as { name: string }[]) : [],
    );
    assert(bound.every(({ name }) => name !== 'loam-ztunnel'));
  });

  it('runs agent and ztunnel on every node, above all others', () => {
    for (const program of ['agent', 'ztunnel'] as const) {
      const pod = podOf(rendered(), program);
      assert.equal(pod.priorityClassName, 'system-node-critical');
      assert.deepEqual(pod.tolerations, [{ operator: 'Exists' }]);
    }
  });

  it('grants no wildcard, no reading of all Secrets, and writing of Secrets by name', () => {
    const roles = rendered().filter(
      (object): object is Manifest & { rules: V1PolicyRule[] } => 'rules' in object,
    );
    for (const { kind, metadata, rules } of roles)
      for (const { apiGroups = [], resources = [], verbs, resourceNames } of rules) {
        assert(![...apiGroups, ...resources, ...verbs].includes('*'), metadata.name);
        if (!resources.includes('secrets')) continue;
        assert.equal(kind, 'Role');
        assert(verbs.join() === 'create' || resourceNames?.length === 2, JSON.stringify(verbs));
      }
  });

  it('lets whoever took a program over delete no more than it must, and not read what it does not use', () => {
    const rulesOf = (kind: string, name: string): V1PolicyRule[] =>
      find<{ rules: V1PolicyRule[] }>(rendered(), kind, name).rules;
    const deletable = [...rulesOf('ClusterRole', 'loam-controller'), ...rulesOf('Role', 'loam-controller')]
      .filter(({ verbs }) => verbs.some((verb) => verb.startsWith('delete')))
      .map(({ resources, resourceNames }) => ({ resources, resourceNames }));
    // Waypoints go with their Gateways, by the garbage collector.
    assert.deepEqual(deletable, [
      { resources: ['configmaps'], resourceNames: ['loam-ca-root-cert'] },
      { resources: ['daemonsets'], resourceNames: ['loam-cleanup'] },
    ]);
    const agent = rulesOf('ClusterRole', 'loam-agent').flatMap(({ resources = [], verbs }) =>
      resources.map((resource) => `${resource}: ${verbs.join()}`),
    );
    const read = ['namespaces', 'pods'].map((resource) => `${resource}: get,list,watch`);
    assert.deepEqual(agent, [...read, 'events: create,patch']);
    const ztunnel = rendered().filter(
      ({ kind, metadata }) => kind.endsWith('Role') && /ztunnel/.test(metadata.name),
    );
    assert.deepEqual(ztunnel, []);
  });

  it('lets the controllers read the kinds that they compile, and in the whole cluster no others but what waypoints are made of', () => {
    const { rules } = find<{ rules: V1PolicyRule[] }>(rendered(), 'ClusterRole', 'loam-controller');
    const readable = rules
      .filter(({ verbs, resourceNames }) => verbs.includes('watch') && resourceNames === undefined)
      .flatMap(({ apiGroups = [], resources = [] }) =>
        apiGroups.flatMap((group) => resources.map((resource) => `${group}/${resource}`)),
      );
    const compiled = READ_KINDS.map(({ path }) => {
      const parts = path.split('/');
      return `${parts.length === 4 ? '' : (parts[2] ?? '')}/${parts.at(-1) ?? ''}`;
    });
    assert.deepEqual(
      readable.sort(),
      [...compiled, 'apps/deployments', 'policy/poddisruptionbudgets'].sort(),
    );
  });

  it('starts ztunnel with flags that it understands', () => {
    const [container] = podOf(
      rendered('ztunnel.terminationGracePeriodSeconds=90', 'trustDomain=corp.example'),
      'ztunnel',
    ).containers;
    const args = (container?.args ?? []).map((arg) => arg.replace('$(NODE_NAME)', 'node1'));
    const config = readZtunnelConfig(args, {});
    assert.equal(config.node, 'node1');
    assert.equal(config.trustDomain, 'corp.example');
    assert.equal(config.drainDeadlineMs, 85_000);
    assert.equal(
      config.state.from === 'xds' && config.state.address,
      'https://loam-controller.loam-system.svc:15012',
    );
    assert.equal(config.onDemand, false);
  });

  it('has ztunnels ask for what is needed where that is set', () => {
    const [container] = podOf(rendered('ztunnel.onDemand=true'), 'ztunnel').containers;
    const args = (container?.args ?? []).map((arg) => arg.replace('$(NODE_NAME)', 'node1'));
    assert.equal(readZtunnelConfig(args, {}).onDemand, true);
  });
});
