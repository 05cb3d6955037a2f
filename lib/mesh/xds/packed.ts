import { zstdDecompressSync } from 'node:zlib';
import { fromBinary, mergeFromBinary } from '@bufbuild/protobuf';
import {
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
} from '../../../proto/gen/envoy/discovery_pb.js';

/** By it a client says which compressed resources it reads (proto/envoy/discovery.proto). */
export const ACCEPT_PACKED_HEADER = 'loam-accept-packed';
export const PACKED_BY = 'zstd';
/** Resources that take more are not compressed, and more is not read. */
export const MAX_UNPACKED_BYTES = 4 * 1024 * 1024;

/**
 * Reads a response, whether or not its resources are compressed.
 *
 * @throws Error when it is none, or has more in it than a message may
 */
export function readResponse(bytes: Uint8Array): DeltaDiscoveryResponse {
  const response = fromBinary(DeltaDiscoveryResponseSchema, bytes);
  const { loamPackedResources: packed } = response;
  if (packed.length === 0) return response;
  response.loamPackedResources = new Uint8Array();
  const unpacked = zstdDecompressSync(packed, { maxOutputLength: MAX_UNPACKED_BYTES });
  return mergeFromBinary(DeltaDiscoveryResponseSchema, response, unpacked);
}
