import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { check, findingText } from '../../../../cli/install/check/check.ts';
import type { Finding } from '../../../../cli/install/check/finding.ts';
import { FakeCluster, NAMESPACE, rootCertificate } from './fake-cluster.ts';

/** What `loam check` says of a cluster, and whether it is content. */
async function checked(
  cluster: FakeCluster,
  installed = true,
): Promise<{ good: boolean; failed: string[]; all: Finding[] }> {
  const all: Finding[] = [];
  const good = await check(cluster.subject(installed), (finding) => all.push(finding));
  const failed = all.filter(({ state }) => state === 'fail').map(findingText);
  return { good, failed, all };
}

/** A cluster in which no program of Loam's was ever applied. */
function uninstalled(): FakeCluster {
  const cluster = new FakeCluster();
  for (const path of cluster.objects.keys()) if (path.includes('/deployments/')) cluster.objects.delete(path);
  return cluster;
}

/** Asserts that exactly one thing is wrong, and that it is said. */
async function assertOnly(cluster: FakeCluster, said: RegExp, installed = true): Promise<void> {
  const { good, failed } = await checked(cluster, installed);
  assert.equal(good, false);
  assert.equal(failed.length, 1, failed.join('\n'));
  assert.match(failed[0] ?? '', said);
  assert.match(failed[0] ?? '', /\n {4}→ \S/, 'a mend is named');
}

describe('loam check', () => {
  it('has nothing to say against a healthy installation', async () => {
    const { good, failed, all } = await checked(new FakeCluster());
    assert.deepEqual(failed, []);
    assert.equal(good, true);
    assert(all.length >= 10);
  });

  it('looks before an installation at what the cluster must be like', async () => {
    const { good, all } = await checked(uninstalled(), false);
    assert.equal(good, true);
    assert(all.some(({ text }) => text === `there is none in ${NAMESPACE}`));
    assert(all.every(({ what }) => what !== 'leader'));
  });

  it('does not take an installation whose record cannot be read for none', async () => {
    const all: Finding[] = [];
    const subject = { ...uninstalled().subject(false), unknown: 'forbidden' };
    assert.equal(await check(subject, (finding) => all.push(finding)), false);
    assert(all.some(({ state, text }) => state === 'fail' && text.endsWith('cannot be read: forbidden')));
    assert(all.every(({ text }) => !text.startsWith('there is none')));
  });

  it('tells an installation that was interrupted from none, and why its controllers do not run', async () => {
    const cluster = new FakeCluster();
    for (const path of cluster.objects.keys()) if (path.includes('/leases/')) cluster.objects.delete(path);
    const { good, failed } = await checked(cluster, false);
    assert.equal(good, false);
    assert.match(failed[0] ?? '', /installation: one in .* was interrupted/);
    assert.match(failed[1] ?? '', /leader: no controller leads/);
  });

  const BROKEN: readonly (readonly [what: string, breakIt: (cluster: FakeCluster) => void, said: RegExp])[] =
    [
      [
        'an image that the nodes cannot get',
        (cluster) => {
          cluster.at('v1', 'Pod', 'agent-node2', NAMESPACE).status = {
            containerStatuses: [
              {
                name: 'agent',
                ready: false,
                state: { waiting: { reason: 'ImagePullBackOff', message: 'Back-off pulling image "x"' } },
              },
            ],
          };
        },
        /agent agent-node2 on node2: ImagePullBackOff: Back-off.*\n.*see that the nodes can get the image localhost\/loam:dev/,
      ],
      [
        'a program that ends again and again',
        (cluster) => {
          cluster.at('v1', 'Pod', 'ztunnel-node1', NAMESPACE).status = {
            containerStatuses: [
              {
                name: 'ztunnel',
                ready: false,
                state: { waiting: { reason: 'CrashLoopBackOff' } },
                lastState: {
                  terminated: {
                    exitCode: 1,
                    reason: 'Error',
                    message: '{"msg":"starting"}\n{"msg":"cannot start","error":"no route"}\n',
                  },
                },
              },
            ],
          };
        },
        /ztunnel ztunnel-node1 on node1: CrashLoopBackOff: it ended with 1 \(Error\): cannot start: no route\n.*logs --previous/,
      ],
      [
        'what keeps a pod from being started, from the newest warning about it',
        (cluster) => {
          cluster.at('v1', 'Pod', 'ztunnel-node1', NAMESPACE).status = {
            containerStatuses: [
              { name: 'ztunnel', ready: false, state: { waiting: { reason: 'ContainerCreating' } } },
            ],
          };
          cluster.warn('ztunnel-node2', 'Other', 'of another pod');
          cluster.warn('ztunnel-node1', 'FailedMount', 'configmap "loam-ca-root-cert" not found');
        },
        /ztunnel ztunnel-node1 on node1: is being started: FailedMount: configmap "loam-ca-root-cert" not found/,
      ],
      [
        'what a program waits for that runs and is not ready',
        (cluster) => {
          cluster.at('v1', 'Pod', 'ztunnel-node1', NAMESPACE).status = {
            containerStatuses: [{ name: 'ztunnel', ready: false, state: { running: {} } }],
          };
          cluster.agents.set('ztunnel-node1', {
            gates: [
              { name: 'listeners', ready: true, reason: '' },
              { name: 'xds-workloads', ready: false, reason: 'connect ECONNREFUSED' },
            ],
          });
        },
        /ztunnel ztunnel-node1 on node1: runs, but is not ready: xds-workloads: connect ECONNREFUSED\n/,
      ],
      [
        'a node that no agent came to',
        (cluster) => cluster.remove('v1', 'Pod', 'agent-node1', NAMESPACE),
        /node node1: has no agent/,
      ],
      [
        'rights of the controllers that somebody took away',
        (cluster) => {
          const role = cluster.at(
            'rbac.authorization.k8s.io/v1',
            'ClusterRole',
            'loam-controller',
          ) as unknown as { rules: unknown[] };
          role.rules.splice(1, 1);
        },
        /ClusterRole loam-controller: was changed/,
      ],
      [
        'a Service that is gone',
        (cluster) => cluster.remove('v1', 'Service', 'loam-controller', NAMESPACE),
        /Service loam-system\/loam-controller: is gone\n.*loam upgrade/,
      ],
      [
        'a kind that is not defined',
        (cluster) =>
          cluster.remove(
            'apiextensions.k8s.io/v1',
            'CustomResourceDefinition',
            'httproutes.gateway.networking.k8s.io',
          ),
        /kinds: there is no httproutes\.gateway\.networking\.k8s\.io\n.*deploy\/crds/,
      ],
      [
        'a leader that has gone silent',
        (cluster) => cluster.lease(NAMESPACE, 'loam-controller-leader', 'controller-node1', 120),
        /leader: controller-node1 led, and has not renewed/,
      ],
      [
        'a root certificate that is about to end',
        (cluster) => {
          const map = cluster.at('v1', 'ConfigMap', 'loam-ca-root-cert', NAMESPACE) as unknown as {
            data: Record<string, string>;
          };
          map.data['root-cert.pem'] = rootCertificate(1);
        },
        /root certificate: end(s|ed) on /,
      ],
      [
        'a root certificate that nobody wrote',
        (cluster) => cluster.remove('v1', 'ConfigMap', 'loam-ca-root-cert', NAMESPACE),
        /root certificate: there is no ConfigMap loam-ca-root-cert/,
      ],
      [
        'a clock that is wrong',
        (cluster) => cluster.lease('kube-node-lease', 'node2', 'node2', -3600),
        /node node2: its clock differs .* 3600 s\n.*NTP/,
      ],
      [
        'a kernel that is too old',
        (cluster) => {
          (cluster.at('v1', 'Node', 'node1').status['nodeInfo'] as Record<string, string>)['kernelVersion'] =
            '5.15.0-1';
        },
        /node node1: has kernel 5\.15\.0-1\n.*6\.1 or newer/,
      ],
      [
        'a namespace of two meshes',
        (cluster) =>
          (cluster.at('v1', 'Namespace', 'shop').metadata.labels['istio.io/dataplane-mode'] = 'ambient'),
        /namespace shop: is labelled for Loam and for Istio/,
      ],
      [
        'a socket load balancer in the way',
        (cluster) =>
          cluster.put({
            apiVersion: 'v1',
            kind: 'ConfigMap',
            metadata: { name: 'cilium-config', namespace: 'kube-system' },
            data: { 'kube-proxy-replacement': 'true' },
          }),
        /other hooks: Cilium balances at the sockets.*\n.*socketLB\.hostNamespaceOnly=true/,
      ],
      [
        'a pod that is labelled and is not in the mesh',
        (cluster) =>
          cluster.agents.set('agent-node1', {
            pods: [
              { pod: 'shop/web', state: 'verified' },
              { pod: 'shop/db', state: 'pending', problem: 'no process of the pod was found' },
            ],
          }),
        /pod shop\/db on node1: should be in the mesh and is pending: no process of the pod was found/,
      ],
      [
        'an agent whose kernel part has a problem',
        (cluster) =>
          cluster.agents.set('agent-node2', { problems: ['connect4: the link is gone'], pods: [] }),
        /agent on node2: connect4: the link is gone/,
      ],
      [
        'a capability that somebody took from the agents',
        (cluster) => {
          const { template } = cluster.at('apps/v1', 'DaemonSet', 'loam-agent', NAMESPACE)
            .spec as unknown as {
            template: { spec: { containers: { securityContext: { capabilities: { add: string[] } } }[] } };
          };
          template.spec.containers[0]?.securityContext.capabilities.add.shift();
        },
        /DaemonSet loam-system\/loam-agent: was changed: spec\.template\.spec\.containers\[agent\]\.securityContext\.capabilities\.add is \["SYS_ADMIN",.*\], and not \["NET_ADMIN",/,
      ],
      [
        'a definition of an older version',
        (cluster) => {
          const { versions } = cluster.at(
            'apiextensions.k8s.io/v1',
            'CustomResourceDefinition',
            'meshsettings.loam.dev',
          ).spec as unknown as {
            versions: { schema: { openAPIV3Schema: { properties: { spec: { properties: object } } } } }[];
          };
          for (const { schema } of versions) schema.openAPIV3Schema.properties.spec.properties = {};
        },
        /kinds: meshsettings\.loam\.dev is of an older version: it does not know spec\.\w+/,
      ],
      [
        'a ztunnel that reaches no controller',
        (cluster) =>
          cluster.agents.set('ztunnel-node2', {
            gates: [{ name: 'xds-policies', ready: true, reason: 'last state in force; connect ETIMEDOUT' }],
          }),
        /ztunnel ztunnel-node2 on node2: reaches no controller .*: connect ETIMEDOUT\n.*NetworkPolicies/,
      ],
      [
        'an authority that cannot be used',
        (cluster) =>
          cluster.agents.set('controller-node1', {
            gates: [{ name: 'authority', ready: true, reason: 'Secret x: field ca-key.pem does not belong' }],
          }),
        /controller controller-node1 on node1: authority: Secret x: field ca-key\.pem does not belong\n.*loam-ca/,
      ],
      [
        'a program of another version',
        (cluster) => {
          const { containers } = cluster.at('v1', 'Pod', 'ztunnel-node2', NAMESPACE).spec as unknown as {
            containers: { image: string }[];
          };
          for (const container of containers) container.image = 'loam:old';
        },
        /ztunnel ztunnel-node2 on node2: runs image loam:old, and the installation has localhost\/loam:dev/,
      ],
      [
        'images that only have the same name',
        (cluster) => {
          cluster.at('v1', 'Pod', 'agent-node2', NAMESPACE).status['containerStatuses'] = [
            { ready: true, imageID: 'sha256:2' },
          ];
        },
        /images: localhost\/loam:dev is not the same on all nodes: sha256:1 on node1, node2; sha256:2 on node2/,
      ],
      [
        'a runtime that does not hold new pods',
        (cluster) =>
          cluster.agents.set('agent-node1', {
            pods: [],
            kubernetes: { nri: { state: 'connecting', problem: 'no such file' } },
          }),
        /node node1: a new pod may speak before .* NRI: no such file\n.*switch NRI on .*cni\.mode=auto/,
      ],
      [
        'an agent that does not answer',
        (cluster) => cluster.agents.delete('agent-node1'),
        /agent on node1: cannot be asked: connection refused/,
      ],
      [
        'a user who may not install',
        (cluster) => cluster.denied.add('create clusterroles').add('patch daemonsets'),
        /rights: you may not create clusterroles, patch daemonsets/,
      ],
    ];
  for (const [what, breakIt, said] of BROKEN)
    it(`names ${what}`, async () => {
      const cluster = new FakeCluster();
      breakIt(cluster);
      await assertOnly(cluster, said);
    });

  it('tells an installation of another version, and does not judge its fields', async () => {
    const cluster = new FakeCluster();
    cluster.at('v1', 'Service', 'loam-controller', NAMESPACE).spec = {};
    const subject = cluster.subject();
    assert(subject.installed);
    const all: Finding[] = [];
    const installed = { ...subject.installed, version: '0.0.9' };
    assert.equal(await check({ ...subject, installed }, (finding) => all.push(finding)), false);
    const failed = all.filter(({ state }) => state === 'fail').map(findingText);
    assert.equal(failed.length, 1, failed.join('\n'));
    assert.match(failed[0] ?? '', /version: was installed by 0\.0\.9, and this is .*\n.*loam upgrade/);
  });

  it('passes no cluster without nodes', async () => {
    const cluster = new FakeCluster();
    for (const node of ['node1', 'node2']) {
      cluster.remove('v1', 'Node', node);
      for (const program of ['agent', 'ztunnel'])
        cluster.remove('v1', 'Pod', `${program}-${node}`, NAMESPACE);
    }
    const { good, failed } = await checked(cluster);
    assert.equal(good, false);
    assert.match(failed.join('\n'), /nodes: there is none\n[^]*programs on nodes: there is no node/);
  });

  it('refuses an API server that is too old, and asks it nothing more', async () => {
    const cluster = new FakeCluster();
    cluster.version = { major: '1', minor: '27+', gitVersion: 'v1.27.1' };
    const { all } = await checked(cluster);
    assert.equal(all.length, 1);
    assert.match(findingText(all[0] as Finding), /API server: is v1\.27\.1\n.*1\.30 or newer/);
  });

  it('says of a pod that is left alone why, and does not count it as a fault', async () => {
    const cluster = new FakeCluster();
    cluster.agents.set('agent-node1', {
      pods: [],
      source: { leftAlone: [{ pod: 'shop/host', why: 'it uses the network of the node' }] },
    });
    const { good, all } = await checked(cluster);
    assert.equal(good, true);
    assert(
      all.some(
        ({ what, text }) => what === 'pod shop/host on node1' && text.includes('the network of the node'),
      ),
    );
  });

  it('counts connections from before their pods were in the mesh, and says until when they go on', async () => {
    const cluster = new FakeCluster();
    const pods = [
      { pod: 'shop/web', state: 'verified', earlier: { count: 3, cutAt: '2026-01-01T10:00:00.000Z' } },
      { pod: 'shop/db', state: 'verified', earlier: { count: 2 } },
    ];
    cluster.agents.set('agent-node1', { pods });
    const { good, all } = await checked(cluster);
    assert.equal(good, true);
    const said = all.map((finding) => findingText(finding)).join('\n');
    assert.match(said, /node node1: 5 connections from before go on in plaintext, of 2 pods/);
    assert.match(said, /pod shop\/web on node1: 3 connections .* are cut at 2026-01-01T10:00:00\.000Z/);
    assert.match(said, /pod shop\/db on node1: 2 connections .* are never cut/);
  });

  it('names a pod that ztunnel cannot serve, also among many notes', async () => {
    const cluster = new FakeCluster();
    const many = Array.from({ length: 30 }, (_, i) => ({
      pod: `shop/old-${i}`,
      state: 'verified',
      earlier: { count: 1 },
    }));
    const refused = { pod: 'shop/web', state: 'verified', zds: { state: 'refused', message: 'ENOENT' } };
    cluster.agents.set('agent-node1', { pods: many });
    cluster.agents.set('agent-node2', { pods: [refused] });
    const { good, failed } = await checked(cluster);
    assert.equal(good, false);
    assert.match(
      failed.join('\n'),
      /pod shop\/web on node2: its connections are refused, since ztunnel cannot serve it: ENOENT/,
    );
  });
});
