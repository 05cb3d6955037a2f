import type { MessageInitShape } from '@bufbuild/protobuf';
import type { WorkloadRequestSchema } from '../../proto/gen/zds/zds_pb.js';
import { AgentError } from '../agent-error.ts';

export type Payload = NonNullable<MessageInitShape<typeof WorkloadRequestSchema>['payload']>;

/** One message to a node proxy, and what its acknowledgement means. */
export interface Message {
  readonly payload: Payload;
  /** The sender's; duplicates travel. */
  readonly fds: readonly number[];
  /** @param error empty: it was carried out */
  acknowledged(error: string): void;
}

/** Reads what a proxy sent. @throws AgentError ZDS_PROTOCOL */
export function decode<T>(parse: () => T, what: string): T {
  try {
    return parse();
  } catch (error) {
    throw new AgentError('ZDS_PROTOCOL', `what should be ${what} cannot be read`, { cause: error });
  }
}
