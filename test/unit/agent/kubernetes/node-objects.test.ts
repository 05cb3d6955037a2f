import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { nodePod } from '../../../../agent/kubernetes/node-objects.ts';

const UID = '9f3d1d0a-0000-4000-8000-000000000001';
const HASH = '0123456789abcdef0123456789abcdef';

function pod(spec: object, annotations: Readonly<Record<string, string>> = {}): ReturnType<typeof nodePod> {
  const metadata = { name: 'web', namespace: 'shop', uid: UID, annotations };
  return nodePod({ metadata, spec } as Parameters<typeof nodePod>[0]);
}

describe('agent: what is kept of a Pod', () => {
  it('a static pod is known by the hash that its kubelet gave it, and nobody else by the one that it claims', () => {
    const claim = { 'kubernetes.io/config.hash': HASH };
    assert.equal(pod({}, { ...claim, 'kubernetes.io/config.mirror': HASH }).cgroupUid, HASH);
    // An ordinary pod may carry it, and would be looked for in a cgroup that is not its own.
    assert.equal(pod({}, claim).cgroupUid, UID);
    assert.equal(pod({}, { ...claim, 'kubernetes.io/config.mirror': 'other' }).cgroupUid, UID);
  });

  it('the kubelet dials it where its containers say, of all kinds and by name', () => {
    const spec = {
      containers: [
        {
          ports: [
            { name: 'web', containerPort: 8080 },
            { name: 'admin', containerPort: 9000 },
          ],
          readinessProbe: { httpGet: { port: 'web', path: '/' } },
          livenessProbe: { tcpSocket: { port: 9001 } },
          startupProbe: { grpc: { port: 9002 } },
          lifecycle: { preStop: { httpGet: { port: 'admin' } }, postStart: { exec: { command: ['true'] } } },
        },
        { livenessProbe: { exec: { command: ['true'] } }, readinessProbe: { httpGet: { port: '9003' } } },
      ],
      initContainers: [{ restartPolicy: 'Always', startupProbe: { tcpSocket: { port: 8080 } } }],
    };
    assert.deepEqual(pod(spec).probePorts, [8080, 9000, 9001, 9002, 9003]);
  });

  it('what names a host, or makes no sense, opens no port of it', () => {
    const containers = [
      { readinessProbe: { httpGet: { host: '10.0.0.9', port: 80 } } },
      { readinessProbe: { tcpSocket: { host: 'other.example', port: 81 } } },
      { livenessProbe: { httpGet: { port: 'nowhere' } }, startupProbe: { tcpSocket: { port: 70_000 } } },
      { livenessProbe: { httpGet: 7 }, startupProbe: 'x', lifecycle: { preStop: [] }, ports: {} },
      null,
    ];
    assert.deepEqual(pod({ containers }).probePorts, []);
    assert.deepEqual(pod({ containers: 'x', initContainers: null }).probePorts, []);
  });

  it('of many, as many are kept as the kernel can be told', () => {
    const containers = Array.from({ length: 40 }, (_, i) => ({
      readinessProbe: { tcpSocket: { port: 1000 + i } },
    }));
    assert.deepEqual(
      pod({ containers }).probePorts,
      Array.from({ length: 32 }, (_, i) => 1000 + i),
    );
  });
});
