import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { eventually, Mesh } from './harness.ts';
import { BASE } from './manifests.ts';

interface Dialled {
  readonly connected: boolean;
  readonly received: string;
  readonly end: string;
}

function policy(name: string, app: string, allow: string): string {
  return `
apiVersion: loam.dev/v1
kind: EgressPolicy
metadata: {name: ${name}, namespace: m}
spec:
  selector: {matchLabels: {app: ${app}}}
  allow: ${allow}
`;
}

describe('mesh: rules at the source', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  before(async () => {
    mesh = await Mesh.up({
      ...BASE,
      'egress.yaml': policy('client-egress', 'client', '[{services: [{name: server}]}]'),
    });
  });
  after(() => mesh.down());

  async function listen(pod: string, host: string, port = 7000): Promise<Dialled> {
    return (await mesh.client(pod, 'listen', host, String(port), '2000'))[0] as Dialled;
  }

  it('lets a Service through that a policy names, and nothing else, with the reason in log and metric', async () => {
    assert.match((await listen('client', 'server')).received, /^HELLO /);
    const denied = await listen('client', 'near');
    assert.equal(denied.received, '');
    assert.notEqual(denied.end, 'timeout');
    assert.match((await listen('other', 'near')).received, /^HELLO /, 'others are not restricted');
    const line = await eventually('the denial in the log', () =>
      mesh
        .accessLog('node-a')
        .find(
          (each) => each.direction === 'outbound' && each.source === 'm/client' && each.flags === 'EGRESS',
        ),
    );
    assert.equal(line.policy, 'm/client-egress');
    assert.equal(line.service, 'near.m.svc.cluster.local');
    assert.match(line.error ?? '', /no rule allows Service m\/near port 7000/);
  });
});
