import { create, toBinary } from '@bufbuild/protobuf';
import {
  DeltaDiscoveryResponseSchema,
  type Resource,
  ResourceSchema,
} from '../../proto/gen/envoy/discovery_pb.js';
import type { OutgoingResponse } from './delta-stream.ts';
import type { VersionedResource } from './snapshot.ts';

/** Of `resources` in DeltaDiscoveryResponse: field 2, length-delimited. */
const RESOURCES_TAG = (2 << 3) | 2;
const LOW_BITS = 0x7f;
const MORE = 0x80;

/** Encodes a response. Each resource is encoded once, however many clients get it; they share its bytes until they are on the wire. */
export function encodeResponse(response: OutgoingResponse): Buffer {
  const { typeUrl, nonce, systemVersionInfo, resources, removedResources, withAliases } = response;
  const rest = create(DeltaDiscoveryResponseSchema, {
    ...{ typeUrl, nonce, systemVersionInfo },
    removedResources: [...removedResources],
  });
  const parts: Uint8Array[] = [];
  for (const resource of resources) {
    // The client of one address is told all others of what it finds there, and others are not.
    const aliases = withAliases
      ? toBinary(ResourceSchema, create(ResourceSchema, aliasesOf(resource)))
      : NONE;
    const bytes = encodedOnce(typeUrl, resource);
    parts.push(lengthPrefix(bytes.length + aliases.length), bytes, aliases);
  }
  parts.push(toBinary(DeltaDiscoveryResponseSchema, rest));
  return Buffer.concat(parts);
}

const NONE = new Uint8Array();

function aliasesOf({ aliases }: VersionedResource): Pick<Resource, 'aliases'> {
  return { aliases: [...aliases] };
}

function encodedOnce(typeUrl: string, resource: VersionedResource): Uint8Array {
  const { name, version, bytes: value } = resource;
  resource.wire ??= toBinary(
    ResourceSchema,
    create(ResourceSchema, { name, version, resource: { typeUrl, value } }),
  );
  return resource.wire;
}

/** Tag and length (protobuf's varint) of a resource. */
function lengthPrefix(length: number): Uint8Array {
  const bytes = [RESOURCES_TAG];
  let left = length;
  while (left > LOW_BITS) {
    bytes.push((left & LOW_BITS) | MORE);
    left >>>= 7;
  }
  bytes.push(left);
  return Uint8Array.from(bytes);
}
