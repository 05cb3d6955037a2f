import assert from 'node:assert/strict';
import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { fstatSync, openSync } from 'node:fs';
import { closeFd } from '../../../lib/linux/libc.ts';
import type { Packet } from '../../../lib/linux/seqpacket.ts';
import { WorkloadRequestSchema, WorkloadResponseSchema } from '../../../proto/gen/zds/zds_pb.js';
import { PodDirectory } from '../../../ztunnel/pods/pod-directory.ts';
import { ZdsClient } from '../../../ztunnel/pods/zds-client.ts';
import { mutateProtobuf } from '../engine/mutate-protobuf.ts';
import { seriesOf, stepsOf } from '../engine/packets.ts';
import type { FuzzTarget } from '../engine/target.ts';

type Payload = NonNullable<MessageInitShape<typeof WorkloadRequestSchema>['payload']>;
const request = (payload: Payload): Uint8Array =>
  toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, { payload }));
const add = (uid: string, name = 'web'): Uint8Array =>
  request({ case: 'add', value: { uid, workloadInfo: { name, namespace: 'shop', serviceAccount: 'web' } } });
const silent = (): void => undefined;

/** What an agent sends to ztunnel; a number before a packet is how many descriptors come with it. */
export const target: FuzzTarget = {
  name: 'zds-ztunnel',
  mutate: mutateProtobuf,
  seeds: [
    seriesOf(
      2,
      request({ case: 'loamMaps', value: {} }),
      4,
      add('uid-a'),
      request({ case: 'snapshotSent', value: {} }),
    ),
    seriesOf(4, add('uid-a'), 4, add('uid-a', 'other'), request({ case: 'del', value: { uid: 'uid-a' } })),
    seriesOf(
      request({ case: 'keep', value: { uid: 'uid-k' } }),
      request({ case: 'snapshotSent', value: {} }),
      1,
      add('x'),
    ),
    seriesOf(4, add('../../etc'), 4, add('uid-b', 'a/b')),
  ],
  async run(input) {
    const open = new Set<number>();
    const take = (fds: readonly number[]): void => {
      for (const fd of fds) {
        assert.ok(open.delete(fd), 'a descriptor is taken that is none of the packet’s');
        closeFd(fd);
      }
    };
    const identities: string[] = [];
    const served = new Set<string>();
    const pods = new PodDirectory(
      {
        setMaps: ({ ownSockets, originalDst }) => take([ownSockets, originalDst]),
        add: (pod, fds) => {
          take([fds.netns, fds.outbound, fds.plaintext, fds.hbone]);
          served.add(pod.uid);
          return Promise.resolve();
        },
        remove: (uid) => void served.delete(uid),
        release: (uid) => void served.delete(uid),
      },
      {
        acquire: ({ namespace, serviceAccount }) => {
          assert.match(`${namespace}/${serviceAccount}`, /^[\w.-]+\/[\w.-]+$/);
          identities.push(serviceAccount);
        },
        release: ({ serviceAccount }) => {
          const at = identities.indexOf(serviceAccount);
          assert.ok(at >= 0, 'an identity is released that nobody had');
          identities.splice(at, 1);
        },
      },
      'cluster.local',
    );
    let receive: (packet: Packet) => void = silent;
    let close: () => void = silent;
    const answers = Promise.withResolvers<void>();
    let [sent, closed] = [0, false];
    const client = new ZdsClient(
      '/none',
      pods,
      {
        serving: true,
        serve: () => Promise.resolve(),
        yield: () => Promise.resolve(),
        heldState: (fd) => {
          if (fd !== undefined) closeFd(fd);
        },
        live: silent,
      },
      0n,
      { debug: silent, info: silent, warn: silent, error: silent },
      () =>
        Promise.resolve({
          send: (data) => {
            // The first is the hello.
            if (sent++ > 0) fromBinary(WorkloadResponseSchema, data);
            else answers.resolve();
            return Promise.resolve();
          },
          onPacket: (listener) => (receive = listener),
          onClose: (listener) => (close = () => listener(undefined)),
          close: () => {
            closed = true;
            close();
          },
        }),
    );
    client.start();
    await answers.promise;
    let descriptors = 0;
    let packets = 0;
    for (const step of stepsOf(input)) {
      if ('number' in step) {
        descriptors = step.number % 6;
        continue;
      }
      // Of a connection that was given up nothing comes any more.
      if (closed) break;
      const fds = Array.from({ length: descriptors }, (_, i) =>
        openSync(i === 0 ? '/proc/self/ns/net' : '/dev/null', 'r'),
      );
      for (const fd of fds) open.add(fd);
      receive({ data: step.packet, fds });
      packets += 1;
      while (!closed && sent <= packets) await Promise.resolve();
      for (const fd of fds)
        if (isOpen(fd)) assert.ok(!open.has(fd), 'a descriptor stays open');
        else open.delete(fd);
      descriptors = 0;
    }
    client.stop();
    for (const uid of served) assert.match(uid, /^[\w.-]{1,64}$/);
    assert.equal(identities.length, served.size, 'as many identities are held as pods');
  },
};

function isOpen(fd: number): boolean {
  try {
    return (fstatSync(fd), true);
  } catch {
    return false;
  }
}
