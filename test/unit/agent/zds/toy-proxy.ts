/** A node proxy of a few lines: says hello, keeps what it is sent, acknowledges as told. */
import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { closeFd } from '../../../../lib/linux/libc.ts';
import { SeqpacketClient, type SeqpacketConnection } from '../../../../lib/linux/seqpacket.ts';
import {
  WorkloadRequestSchema,
  WorkloadResponseSchema,
  ZdsHelloSchema,
  type WorkloadRequest,
} from '../../../../proto/gen/zds/zds_pb.js';

type Said = NonNullable<MessageInitShape<typeof WorkloadResponseSchema>['payload']>;

export interface Received {
  /** `add uid-a`, `snapshotSent`, … */
  readonly text: string;
  readonly message?: WorkloadRequest;
  readonly fds: readonly number[];
}

export class ToyProxy {
  readonly connection: SeqpacketConnection;
  readonly received: Received[] = [];
  closed = false;
  /** The error to acknowledge a message with; 'silent': no acknowledgement at all. */
  answer: (text: string) => string = () => '';

  private constructor(connection: SeqpacketConnection) {
    this.connection = connection;
    connection.onClose(() => (this.closed = true));
    connection.onPacket(({ data, fds }) => {
      const message = fromBinary(WorkloadRequestSchema, data);
      const text = textOf(message);
      this.received.push({ text, message, fds });
      const error = this.answer(text);
      if (error !== 'silent') void this.ack(error).catch(() => undefined);
    });
  }

  /** Connects without a word. */
  static async connect(path: string): Promise<ToyProxy> {
    return new ToyProxy(await SeqpacketClient.connect(path));
  }

  /** Connects and says hello. */
  static async greet(
    path: string,
    options: { loamHandover?: boolean; answer?: ToyProxy['answer']; started?: bigint } = {},
  ): Promise<ToyProxy> {
    const proxy = await ToyProxy.connect(path);
    if (options.answer !== undefined) proxy.answer = options.answer;
    await proxy.hello(options.loamHandover ?? true, 1, options.started);
    return proxy;
  }

  /** @param started given: it takes part in takeovers */
  async hello(loamHandover = true, version = 1, started?: bigint): Promise<void> {
    const takeover = started === undefined ? {} : { loamTakeover: true, loamStarted: started };
    const hello = create(ZdsHelloSchema, { version, loamHandover, ...takeover });
    await this.connection.send(toBinary(ZdsHelloSchema, hello));
  }

  /** Says something that nobody asked for. */
  async say(payload: Said, fds: readonly number[] = []): Promise<void> {
    const response = create(WorkloadResponseSchema, { payload });
    await this.connection.send(toBinary(WorkloadResponseSchema, response), fds);
  }

  async ack(error = ''): Promise<void> {
    const response = create(WorkloadResponseSchema, { payload: { case: 'ack', value: { error } } });
    await this.connection.send(toBinary(WorkloadResponseSchema, response));
  }

  texts(): string[] {
    return this.received.map(({ text }) => text);
  }

  /** Closes the connection and every descriptor that came. */
  close(): void {
    this.connection.close();
    for (const { fds } of this.received.splice(0)) fds.forEach(closeFd);
  }
}

function textOf({ payload }: WorkloadRequest): string {
  const uid = payload.value !== undefined && 'uid' in payload.value ? ` ${payload.value.uid}` : '';
  const released = payload.case === 'del' && payload.value.loamReleased ? ', which lives on' : '';
  return `${payload.case ?? 'nothing'}${uid}${released}`;
}

/** Waits, turning the event loop, until something holds. The test's own time limit ends it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}
