import assert from 'node:assert/strict';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { HeldState } from '../../../agent/zds/held-state.ts';
import { Session } from '../../../agent/zds/session.ts';
import type { Workload } from '../../../agent/zds/workload.ts';
import type { Packet } from '../../../lib/linux/seqpacket.ts';
import {
  WorkloadRequestSchema,
  WorkloadResponseSchema,
  ZdsHelloSchema,
} from '../../../proto/gen/zds/zds_pb.js';
import { FakeClock } from '../../unit/agent/fakes.ts';
import { mutateProtobuf } from '../engine/mutate-protobuf.ts';
import { seriesOf, stepsOf } from '../engine/packets.ts';
import type { FuzzTarget } from '../engine/target.ts';

const hello = (version: number, loamHandover: boolean): Uint8Array =>
  toBinary(ZdsHelloSchema, create(ZdsHelloSchema, { version, loamHandover }));
const ack = (error = ''): Uint8Array =>
  toBinary(
    WorkloadResponseSchema,
    create(WorkloadResponseSchema, { payload: { case: 'ack', value: { error } } }),
  );

const WORKLOADS: readonly Workload[] = ['a', 'b'].map((name, i) => ({
  uid: `uid-${name}`,
  name,
  namespace: 'shop',
  serviceAccount: 'web',
  ips: ['198.18.0.1'],
  netnsFd: 100 + i,
  listeners: { outbound: 200, plaintext: 201, hbone: 202 },
  generation: 1,
}));
const ALL = {
  workloads: new Map(WORKLOADS.map((w) => [w.uid, w])),
  keep: new Set(['uid-c']),
  released: new Set<string>(),
};
const FEWER = {
  workloads: new Map(WORKLOADS.slice(1).map((w) => [w.uid, w])),
  keep: new Set<string>(),
  released: new Set<string>(),
};
const silent = (): void => undefined;

/** What a node proxy sends to the agent: a hello, then acknowledgements; a number lets time pass or pods come and go. */
export const target: FuzzTarget = {
  name: 'zds-agent',
  mutate: mutateProtobuf,
  seeds: [
    seriesOf(hello(1, true), ack(), ack(), ack(), ack(), ack(), 1, ack()),
    seriesOf(hello(1, false), ack(), ack('no'), 10, ack(), ack(), 2, ack()),
    seriesOf(hello(2, true)),
    seriesOf(ack()),
  ],
  run(input) {
    const clock = new FakeClock();
    let receive: (packet: Packet) => void = silent;
    let [closed, ended, unanswered] = [0, 0, 0];
    const session = new Session({
      connection: {
        peer: { pid: 1, uid: 0, gid: 0 },
        send: (data) => {
          fromBinary(WorkloadRequestSchema, data);
          unanswered += 1;
          assert.ok(unanswered <= 1, 'more than one message is on its way');
          assert.equal(closed, 0, 'it speaks after it hung up');
          return Promise.resolve();
        },
        onPacket: (listener) => (receive = listener),
        onClose: silent,
        close: () => (closed += 1),
      },
      maps: { ownSockets: 7, originalDst: 8 },
      held: new HeldState(clock),
      clock,
      log: { debug: silent, info: silent, warn: silent, error: silent },
      onHello: () => session.want(ALL, 'serve', true),
      onProgress: silent,
      onClose: () => (ended += 1),
    });
    for (const step of stepsOf(input)) {
      if ('packet' in step) {
        if (isAcknowledgement(step.packet)) unanswered = Math.max(0, unanswered - 1);
        receive({ data: step.packet, fds: [] });
      } else if (step.number % 4 === 1) session.want(FEWER, 'stay', true);
      else if (step.number % 4 === 2) session.want(ALL, step.number % 8 < 4 ? 'serve' : 'yield', true);
      else clock.advance(step.number * 100);
      for (const { uid } of WORKLOADS) {
        const state = session.stateOf(uid);
        if (state.state === 'refused') assert.ok(state.message.length <= 500);
      }
      assert.ok(session.describe().workloads <= WORKLOADS.length);
    }
    // Nothing that a proxy does may keep it alive beyond its deadlines, unless it is served.
    if (unanswered > 0) clock.advance(60_000);
    assert.ok(ended <= 1, 'it ends once');
    if (unanswered > 0) assert.equal(ended, 1, 'a proxy that does not answer is dropped');
  },
};

function isAcknowledgement(packet: Buffer): boolean {
  try {
    return fromBinary(WorkloadResponseSchema, packet).payload.case === 'ack';
  } catch {
    return false;
  }
}
