import { createHash } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { LoamError } from '../../lib/loam-error.ts';
import type { RestoredCertificate } from '../../lib/mesh/identity/certificate-manager.ts';
import type { RawResource } from '../../lib/mesh/xds/subscription.ts';
import { HeldStateSchema, type HeldState } from '../../proto/gen/loam/ztunnel/v1/held_state_pb.js';

/** The agent takes no more. */
export const HELD_STATE_MAX_BYTES = 64 << 20;

const MAGIC = Buffer.from('LOAMHS01', 'latin1');
const DIGEST_BYTES = 32;
const HEAD_BYTES = MAGIC.length + DIGEST_BYTES;

export type HeldStateCode =
  /** Not what a ztunnel wrote, or only a part of it. */
  | 'HELD_STATE_CORRUPT'
  /** Of another node, cluster or trust domain. */
  | 'HELD_STATE_FOREIGN'
  /** Nobody has kept it up to date for too long. */
  | 'HELD_STATE_STALE';

/** Why a state that the agent held is not used. */
export class HeldStateError extends LoamError<HeldStateCode> {}

/** Whose state it is. */
export interface HeldStateOwner {
  readonly node: string;
  readonly clusterId: string;
  readonly trustDomain: string;
}

/** Everything that is held. */
export interface HeldStateContent {
  readonly types: readonly { readonly typeUrl: string; readonly resources: readonly RawResource[] }[];
  readonly certificates: readonly RestoredCertificate[];
}

/** Magic, SHA-256 of the rest, and the state as protobuf. */
export function encodeHeldState(owner: HeldStateOwner, content: HeldStateContent): Buffer {
  const state = create(HeldStateSchema, {
    ...owner,
    types: content.types.map(({ typeUrl, resources }) => ({ typeUrl, resources: [...resources] })),
    certificates: [...content.certificates],
  });
  const body = toBinary(HeldStateSchema, state);
  return Buffer.concat([MAGIC, createHash('sha256').update(body).digest(), body]);
}

/** @throws HeldStateError */
export function decodeHeldState(bytes: Buffer, owner: HeldStateOwner): HeldStateContent {
  if (bytes.length < HEAD_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC))
    throw new HeldStateError('HELD_STATE_CORRUPT', 'it does not begin as such a state does');
  const body = bytes.subarray(HEAD_BYTES);
  const digest = createHash('sha256').update(body).digest();
  if (!digest.equals(bytes.subarray(MAGIC.length, HEAD_BYTES)))
    throw new HeldStateError('HELD_STATE_CORRUPT', 'its checksum is wrong');
  let state: HeldState;
  try {
    state = fromBinary(HeldStateSchema, body);
  } catch (cause) {
    throw new HeldStateError('HELD_STATE_CORRUPT', 'it cannot be read', { cause });
  }
  for (const field of ['node', 'clusterId', 'trustDomain'] as const) {
    if (state[field] === owner[field]) continue;
    const allowed = `allowed: ${JSON.stringify(owner[field])}`;
    throw new HeldStateError(
      'HELD_STATE_FOREIGN',
      `its ${field} is ${JSON.stringify(state[field])}; ${allowed}`,
    );
  }
  return state;
}
