import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { PodEvents, type PodEvent } from '../../../../agent/kubernetes/pod-events.ts';
import { TroubleTeller } from '../../../../agent/kubernetes/trouble-teller.ts';
import { newRecord, type PodRecord } from '../../../../agent/pod-record.ts';
import { FakeClock, FakeLog, pod as podSpec } from '../fakes.ts';

const POD = { uid: 'uid-a', namespace: 'shop', name: 'a' };
const WARNING: PodEvent = { type: 'Warning', reason: 'NotInMesh', message: 'no room for it' };
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What was asked of the API: method, path and a part of the body. */
class FakeClient {
  readonly asked: [string, string, Record<string, unknown>][] = [];
  failing = false;

  create<T>(path: string, object: unknown): Promise<T> {
    return this.#ask('create', path, object, { metadata: { name: 'a.1' } });
  }

  patch<T>(path: string, body: unknown): Promise<T> {
    return this.#ask('patch', path, body, {});
  }

  #ask<T>(method: string, path: string, body: unknown, answer: unknown): Promise<T> {
    this.asked.push([method, path, body as Record<string, unknown>]);
    return this.failing ? Promise.reject(new Error('forbidden')) : Promise.resolve(answer as T);
  }
}

describe('Events on pods', () => {
  let client: FakeClient;
  let clock: FakeClock;
  let events: PodEvents;

  beforeEach(() => {
    client = new FakeClient();
    clock = new FakeClock();
    events = new PodEvents({ client, node: 'n1', clock, log: new FakeLog() });
  });

  it('are written on the pod itself, with what and why', async () => {
    events.tell(POD, WARNING);
    await settled();
    const [method, path, body] = client.asked[0] ?? [];
    assert.deepEqual([method, path], ['create', '/api/v1/namespaces/shop/events']);
    assert.deepEqual(body?.['involvedObject'], { apiVersion: 'v1', kind: 'Pod', ...POD });
    assert.deepEqual([body?.['type'], body?.['reason'], body?.['message']], Object.values(WARNING));
    assert.deepEqual(body?.['source'], { component: 'loam-agent', host: 'n1' });
  });

  it('are counted when they come again, and not written each time', async () => {
    for (let i = 0; i < 50; i += 1) {
      events.tell(POD, WARNING);
      clock.advance(2000);
      await settled();
    }
    assert.deepEqual(
      client.asked.map(([method, path, { count }]) => [method, path, count]),
      [
        ['create', '/api/v1/namespaces/shop/events', 1],
        ['patch', '/api/v1/namespaces/shop/events/a.1', 31],
      ],
    );
  });

  it('are kept apart by pod and by message', async () => {
    events.tell(POD, WARNING);
    events.tell({ ...POD, uid: 'uid-b', name: 'b' }, WARNING);
    events.tell(POD, { ...WARNING, message: 'another' });
    await settled();
    assert.equal(client.asked.length, 3);
  });

  it('do no harm when they cannot be written, and are bounded', async () => {
    client.failing = true;
    for (let i = 0; i < 3000; i += 1) events.tell({ ...POD, uid: `uid-${i}` }, WARNING);
    await settled();
    clock.advance(61_000);
    events.tell({ ...POD, uid: 'uid-2999' }, WARNING);
    events.tell({ ...POD, uid: 'uid-0' }, WARNING);
    await settled();
    assert.equal(client.asked.length, 3001, 'the last is remembered, the first forgotten');
  });

  describe('of running pods that are not in the mesh', () => {
    const troubled = (change: Partial<PodRecord> = {}): PodRecord => ({
      ...newRecord(podSpec('a'), 0),
      problem: { code: 'X', message: 'no room for it' },
      ...change,
    });

    it('come when the trouble lasts', async () => {
      const teller = new TroubleTeller({ events, clock });
      const look = async (record: PodRecord): Promise<void> => {
        teller.look([record], []);
        clock.advance(6000);
        await settled();
      };
      await look(troubled());
      await look(troubled());
      await look({ ...troubled(), problem: undefined });
      await look(troubled());
      assert.equal(client.asked.length, 0);
      await look(troubled());
      await look(troubled());
      assert.equal(client.asked.length, 1);
      assert.match(String(client.asked[0]?.[2]['message']), /not in the mesh: no room for it/);
      await look(troubled({ state: 'verified' }));
      await look(troubled({ state: 'verified' }));
      await look(troubled({ state: 'verified' }));
      assert.equal(client.asked.length, 1, 'what is enrolled is in the mesh, whatever else is wrong with it');
    });

    it('come once for a pod that is left alone', async () => {
      const teller = new TroubleTeller({ events, clock });
      const left = [{ uid: 'uid-h', pod: 'shop/host', why: 'it uses the network of the node' }];
      for (let i = 0; i < 3; i += 1) {
        teller.look([], left);
        clock.advance(120_000);
        await settled();
      }
      assert.deepEqual(
        client.asked.map(([method, path]) => [method, path]),
        [['create', '/api/v1/namespaces/shop/events']],
      );
    });
  });
});
