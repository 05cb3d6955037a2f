import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'mocha';
import { Driver } from '../driver.ts';
import { eventually } from '../harness.ts';
import { object, wayServer, wayService } from '../waypoint-manifests.ts';
import { throughMesh } from './mesh.ts';

const FILE = 'telemetry.yaml';
const [HTTP, GREETING] = [80, 7000];
const toService = (name: string): object => ({ targetRefs: [{ group: '', kind: 'Service', name }] });
const logging = (expression?: string): object => ({
  accessLogging: [{ providers: [{ name: 'text' }], ...(expression && { filter: { expression } }) }],
});

/** Another namespace whose Telemetry is for its pods, and one for a Service behind the waypoint. */
const NAMESPACE_N = [
  '{apiVersion: v1, kind: Namespace, metadata: {name: n, labels: {loam.dev/dataplane-mode: ambient}}}\n',
  wayServer('api').replaceAll('namespace: m', 'namespace: n'),
  wayService('api', { namespace: 'n', selector: { app: 'api' }, ports: { [HTTP]: 8080, [GREETING]: 7000 } }),
].join('\n---\n');
const TELEMETRY = [
  object('Telemetry', 'quiet', logging('destination.port == 8080 && connection.mtls'), { namespace: 'n' }),
  object('Telemetry', 'held', { ...toService('held'), ...logging('response.code >= 400') }),
].join('\n---\n');

describe('mesh: access logs as Telemetry asks for them', function () {
  this.timeout(240_000);
  let client: Driver;
  after(async () => {
    client?.stop();
    for (const file of [FILE, `n-${FILE}`]) {
      mesh().write(file, '');
      mesh().remove(file);
    }
    await eventually('what was added to be gone', async () => {
      const { report } = await mesh().status();
      return report.pods.every(({ namespace }) => namespace !== 'n');
    });
  });
  const mesh = throughMesh.use();

  /** Lines of one program's access log: those that are text, and of the others what they say. */
  function logOf(path: string): { text: string[]; json: Record<string, unknown>[] } {
    const lines = readFileSync(path, 'utf8').split('\n');
    return {
      text: lines.filter((line) => line.includes('\taccess\t')),
      json: lines
        .filter((line) => line.includes('"scope":"access"'))
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    };
  }
  const ofNode = (node: string) => logOf(mesh().paths.logOf('ztunnel', node));
  const ofWaypoint = () => logOf(mesh().paths.waypointLog('m', 'way', 0));
  const get = (path: string, host: string, port: number = HTTP) =>
    client.request({ host, port, path, fresh: true });
  const inboundOfN = (): number =>
    ofNode('node-b').json.filter((line) => line['direction'] === 'inbound' && line['dst.namespace'] === 'n')
      .length;

  before(async () => {
    mesh().write(`n-${FILE}`, NAMESPACE_N);
    client = await Driver.in(mesh(), 'client');
    await eventually('the other namespace to answer', async () => (await get('/', 'api.n')).status === 200);
    mesh().write(FILE, TELEMETRY);
    await eventually('the Telemetry to be in force at the node and the waypoint', async () => {
      await get('/', 'api.n');
      await get('/status?code=404', 'held');
      return ofNode('node-b').text.length > 0 && ofWaypoint().text.length > 0;
    });
  });

  it('are text with a filter for the pods of one namespace, and as ever for those of another', async () => {
    const inJson = inboundOfN();
    await get('/', 'api.n', GREETING);
    const atClient = await eventually('the client’s line of the other port', () =>
      ofNode('node-a').json.find((each) => String(each['dst.hbone_addr']).endsWith(`:${GREETING}`)),
    );
    // What begins now ends after it, at the other side too.
    const line = await eventually('a later line of the server’s side', async () => {
      await get('/', 'api.n');
      return ofNode('node-b').text.find(
        (each) => Date.parse(each.split('\t')[0] ?? '') > Number(atClient['time']),
      );
    });
    assert.deepEqual(
      ofNode('node-b').text.filter((each) => each.includes(`:${GREETING} `)),
      [],
    );
    assert.match(line, /^\S+Z\tinfo\taccess\tconnection complete\tsrc\.addr=\S+ src\.workload=client /);
    assert.match(line, / dst\.addr=\S+:8080 .* dst\.workload=api dst\.namespace=n .* direction=inbound/);
    assert.equal(inboundOfN(), inJson);
  });

  it('are text with a filter for one Service behind a waypoint, and as ever for another', async () => {
    assert.equal((await get('/told-200', 'held')).status, 200);
    assert.equal((await get('/status?code=418', 'held')).status, 418);
    assert.equal((await get('/told-of-web', 'web')).status, 200);
    await eventually('the line of the other Service', () =>
      ofWaypoint().json.some(({ path }) => path === '/told-of-web'),
    );
    const { text, json } = ofWaypoint();
    const teapots = text.filter((line) => line.includes(' response_code=418 '));
    assert.equal(teapots.length, 1, text.join('\n'));
    assert.match(teapots[0] ?? '', / path=\/status /);
    assert.deepEqual(
      text.filter((line) => line.includes('/told-')),
      [],
    );
    assert.deepEqual(
      json.filter(({ path }) => path === '/told-200'),
      [],
    );
  });

  it('are what they were when the Telemetry is gone, and a broken one changes nothing', async () => {
    mesh().write(FILE, TELEMETRY.replaceAll('response.code >= 400', 'response.cod >= 400'));
    await eventually('the broken one to be named', async () => {
      const { controller } = await mesh().status();
      const held = controller?.objects.find(({ kind, name }) => kind === 'Telemetry' && name === 'held');
      return (
        held?.lastGood === true &&
        held.field === 'spec.accessLogging[0].filter.expression' &&
        held.message?.includes('did you mean "response.code"?')
      );
    });
    assert.equal((await get('/still-quiet', 'held')).status, 200);
    mesh().remove(FILE);
    await eventually('the lines to be as ever', async () => {
      await get('/as-ever', 'held');
      return ofWaypoint().json.some(({ path }) => path === '/as-ever');
    });
    assert.deepEqual(
      ofWaypoint().json.filter(({ path }) => path === '/still-quiet'),
      [],
    );
  });
});
