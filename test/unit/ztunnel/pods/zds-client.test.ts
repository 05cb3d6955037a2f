import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import type { Packet } from '../../../../lib/linux/seqpacket.ts';
import {
  WorkloadRequestSchema,
  WorkloadResponseSchema,
  ZdsHelloSchema,
} from '../../../../proto/gen/zds/zds_pb.js';
import { PodDirectory } from '../../../../ztunnel/pods/pod-directory.ts';
import { ZdsClient } from '../../../../ztunnel/pods/zds-client.ts';
import type { PodFds } from '../../../../ztunnel/worker/messages.ts';
import { eventually } from '../support/streams.ts';
import { toyMesh } from '../support/toy-mesh.ts';

type Payload = NonNullable<MessageInitShape<typeof WorkloadRequestSchema>['payload']>;

/** The agent's end of one connection. */
class Agent {
  readonly sent: Uint8Array[] = [];
  closed = false;
  #packet: ((packet: Packet) => void) | undefined;
  #close: ((error: Error | undefined) => void) | undefined;

  readonly connection = {
    send: (data: Uint8Array) => {
      this.sent.push(data);
      return Promise.resolve();
    },
    onPacket: (listener: (packet: Packet) => void) => void (this.#packet = listener),
    onClose: (listener: (error: Error | undefined) => void) => void (this.#close = listener),
    close: () => {
      this.closed = true;
      this.#close?.(undefined);
    },
  };

  /** Sends a message and waits for its acknowledgement. */
  async tell(payload: Payload, fds: readonly number[] = []): Promise<string> {
    const before = this.sent.length;
    const data = toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, { payload }));
    this.#packet?.({ data, fds });
    await eventually(() => this.sent.length > before);
    const answer = fromBinary(WorkloadResponseSchema, this.sent.at(-1) as Uint8Array);
    return answer.payload.case === 'ack' ? answer.payload.value.error : 'no acknowledgement';
  }

  garbage(): void {
    this.#packet?.({ data: Uint8Array.of(0xff, 0xff), fds: [] });
  }
}

/** Does what the agent says, or fails. */
class ToyRole {
  serving = false;
  failing: Error | undefined;

  serve = (): Promise<void> => this.#become(true);
  yield = (): Promise<void> => this.#become(false);
  readonly held: [number | undefined, number][] = [];
  lives = 0;

  heldState = (fd: number | undefined, ageMs: number): void => {
    this.held.push([fd, ageMs]);
    if (fd !== undefined) closeSync(fd);
  };

  live = (): void => {
    this.lives += 1;
  };

  #become(serving: boolean): Promise<void> {
    if (this.failing !== undefined) return Promise.reject(this.failing);
    this.serving = serving;
    return Promise.resolve();
  }
}

describe('ztunnel/pods', () => {
  let agents: Agent[];
  let pods: PodDirectory;
  let client: ZdsClient;
  let served: Map<string, PodFds>;
  let identities: string[];
  let released: string[];
  let failing: Error | undefined;
  let role: ToyRole;

  beforeEach(async () => {
    agents = [];
    served = new Map();
    identities = [];
    released = [];
    failing = undefined;
    const host = {
      setMaps: () => {
        if (failing !== undefined) throw failing;
      },
      add: (pod: { uid: string }, fds: PodFds) => {
        for (const fd of Object.values(fds) as number[]) closeSync(fd);
        if (failing !== undefined) return Promise.reject(failing);
        served.set(pod.uid, fds);
        return Promise.resolve();
      },
      remove: (uid: string) => void served.delete(uid),
      release: (uid: string) => void (served.delete(uid), released.push(uid)),
    };
    const users = {
      acquire: ({ serviceAccount }: { serviceAccount: string }) => void identities.push(serviceAccount),
      release: ({ serviceAccount }: { serviceAccount: string }) =>
        void identities.splice(identities.indexOf(serviceAccount), 1),
    };
    pods = new PodDirectory(host, users, 'cluster.local');
    role = new ToyRole();
    client = new ZdsClient('/zds', pods, role, 77n, toyMesh().log, () => {
      const agent = new Agent();
      agents.push(agent);
      return Promise.resolve(agent.connection);
    });
    client.start();
    await eventually(() => agents[0]?.sent.length === 1);
  });

  afterEach(() => client.stop());

  const agent = () => agents.at(-1) as Agent;
  const netns = () => openSync('/proc/self/ns/net', 'r');
  const file = () => openSync('/dev/null', 'r');
  const fourFds = () => [netns(), file(), file(), file()];
  const add = (uid: string, serviceAccount = 'a'): Payload => ({
    case: 'add',
    value: { uid, workloadInfo: { name: 'pod', namespace: 'ns', serviceAccount } },
  });

  it('says hello and asks for the hand-over', () => {
    const hello = fromBinary(ZdsHelloSchema, agent().sent[0] as Uint8Array);
    assert.deepEqual([hello.version, hello.loamHandover], [1, true]);
    assert.deepEqual([hello.loamTakeover, hello.loamServing, hello.loamStarted], [true, false, 77n]);
  });

  /** What was said without being asked, in order. */
  const said = () =>
    agent()
      .sent.slice(1)
      .map((data) => fromBinary(WorkloadResponseSchema, data).payload.case)
      .filter((what) => what !== 'ack');

  it('serves and yields as it is told, and reports when it cannot', async () => {
    assert.equal(await agent().tell({ case: 'loamServe', value: {} }), '');
    assert.equal(role.serving, true);
    assert.equal(await agent().tell({ case: 'loamYield', value: {} }), '');
    assert.equal(role.serving, false);
    role.failing = new Error('the port is taken');
    assert.equal(await agent().tell({ case: 'loamServe', value: {} }), 'the port is taken');
  });

  it('accepts at once with an agent that says nothing of taking over', async () => {
    assert.equal(await agent().tell({ case: 'loamMaps', value: { takeover: true } }, [file(), file()]), '');
    assert.equal(role.serving, false);
    assert.equal(await agent().tell({ case: 'loamMaps', value: {} }, [file(), file()]), '');
    assert.equal(role.serving, true);
  });

  it('says that it is ready to each agent, after the snapshot; and to the next one that it serves', async () => {
    client.announceReady();
    assert.deepEqual(said(), []);
    await agent().tell({ case: 'snapshotSent', value: {} });
    await eventually(() => said().length === 1);
    assert.deepEqual(said(), ['loamReady']);
    await agent().tell({ case: 'loamServe', value: {} });
    agent().connection.close();
    await eventually(() => agents.length === 2 && agent().sent.length === 1);
    assert.equal(fromBinary(ZdsHelloSchema, agent().sent[0] as Uint8Array).loamServing, true);
    await agent().tell({ case: 'snapshotSent', value: {} });
    await eventually(() => said().length === 1);
  });

  it('when it ends, still hears of pods that go, and comes back to no other agent', async () => {
    await agent().tell(add('u1'), fourFds());
    client.leave();
    await eventually(() => said().length === 1);
    assert.deepEqual(said(), ['loamLeaving']);
    assert.equal(await agent().tell({ case: 'del', value: { uid: 'u1' } }), '');
    assert.equal(served.size, 0);
    agent().connection.close();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(agents.length, 1);
  });

  it('serves what it is given, acknowledges, and is live after the snapshot', async () => {
    assert.equal(await agent().tell({ case: 'loamMaps', value: {} }, [file(), file()]), '');
    assert.equal(await agent().tell(add('u1'), fourFds()), '');
    assert.equal(client.status.state, 'snapshot');
    assert.equal(await agent().tell({ case: 'snapshotSent', value: {} }), '');
    assert.equal(client.status.state, 'live');
    assert.deepEqual([...served.keys()], ['u1']);
    assert.deepEqual(identities, ['a']);
    assert.equal(pods.rows()[0]?.state.kind, 'served');
    assert.equal(await agent().tell({ case: 'del', value: { uid: 'u1' } }), '');
    assert.deepEqual([served.size, identities.length], [0, 0]);
    assert.deepEqual(released, []);
  });

  it('releases a pod that leaves the mesh and lives on', async () => {
    await agent().tell(add('u1'), fourFds());
    assert.equal(await agent().tell({ case: 'del', value: { uid: 'u1', loamReleased: true } }), '');
    assert.deepEqual([released, served.size, identities.length], [['u1'], 0, 0]);
  });

  it('refuses what is incomplete or not what it should be, and closes all descriptors', async () => {
    const bad = [
      [add('u1'), [netns()]],
      [add('u1'), [file(), file(), file(), file()]],
      [add('../u1'), fourFds()],
      [add('u1', 'no/account'), fourFds()],
      [{ case: 'loamMaps', value: {} }, [file()]],
    ] as [Payload, number[]][];
    for (const [payload, fds] of bad) {
      assert.notEqual(await agent().tell(payload, fds), '');
      for (const fd of fds) assert.throws(() => closeSync(fd), { code: 'EBADF' });
    }
    assert.equal(served.size, 0);
  });

  it('refuses maps that it cannot work with, and closes them', async () => {
    failing = new Error('laid out otherwise');
    const fds = [file(), file()];
    assert.equal(await agent().tell({ case: 'loamMaps', value: {} }, fds), 'laid out otherwise');
    for (const fd of fds) assert.throws(() => closeSync(fd), { code: 'EBADF' });
  });

  it('reports a pod that cannot be served, and serves it when asked again', async () => {
    failing = new Error('no listener');
    assert.equal(await agent().tell(add('u1'), fourFds()), 'no listener');
    assert.deepEqual(pods.rows()[0]?.state, { kind: 'failed', error: 'no listener' });
    failing = undefined;
    assert.equal(await agent().tell(add('u1'), fourFds()), '');
    assert.equal(pods.rows()[0]?.state.kind, 'served');
    assert.deepEqual(identities, ['a']);
  });

  it('keeps its pods while the agent is away, and drops those that the next snapshot lacks', async () => {
    for (const uid of ['u1', 'u2', 'u3']) await agent().tell(add(uid), fourFds());
    await agent().tell({ case: 'snapshotSent', value: {} });
    agent().connection.close();
    await eventually(() => agents.length === 2 && agent().sent.length === 1);
    assert.equal(served.size, 3);
    await agent().tell(add('u1'), fourFds());
    await agent().tell({ case: 'keep', value: { uid: 'u2' } });
    await agent().tell({ case: 'snapshotSent', value: {} });
    assert.deepEqual([...served.keys()], ['u1', 'u2']);
    assert.deepEqual(identities, ['a', 'a']);
  });

  it('takes another account of a pod as another identity', async () => {
    await agent().tell(add('u1', 'a'), fourFds());
    await agent().tell(add('u1', 'b'), fourFds());
    assert.deepEqual(identities, ['b']);
  });

  it('gives up a connection that carries no messages, and makes a new one', async () => {
    agent().garbage();
    await eventually(() => agents.length === 2);
    assert.equal(agents[0]?.closed, true);
  });
});
