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
  const { typeUrl, nonce, systemVersionInfo, resources, removedResources, withAliases, shared } = response;
  const rest = create(DeltaDiscoveryResponseSchema, {
    ...{ typeUrl, nonce, systemVersionInfo },
    removedResources: [...removedResources],
  });
  const end = toBinary(DeltaDiscoveryResponseSchema, rest);
  if (shared !== undefined && !withAliases) {
    shared.wire ??= encodeResources(typeUrl, resources);
    return Buffer.concat([shared.wire, end]);
  }
  const parts: Uint8Array[] = [];
  for (const resource of resources) {
    // The client of one address is told all others of what it finds there, and others are not.
    const aliases = withAliases
      ? toBinary(ResourceSchema, create(ResourceSchema, aliasesOf(resource)))
      : NONE;
    const bytes = encodedOnce(typeUrl, resource);
    parts.push(lengthPrefix(bytes.length + aliases.length), bytes, aliases);
  }
  parts.push(end);
  return Buffer.concat(parts);
}

/** Without aliases. Of what is kept for all together, each need not be kept too. */
function encodeResources(typeUrl: string, resources: readonly VersionedResource[]): Uint8Array {
  return Buffer.concat(
    resources.flatMap((resource) => {
      const bytes = resource.wire ?? encode(typeUrl, resource);
      return [lengthPrefix(bytes.length), bytes];
    }),
  );
}

const NONE = new Uint8Array();

function aliasesOf({ aliases }: VersionedResource): Pick<Resource, 'aliases'> {
  return { aliases: [...aliases] };
}

function encodedOnce(typeUrl: string, resource: VersionedResource): Uint8Array {
  resource.wire ??= encode(typeUrl, resource);
  return resource.wire;
}

function encode(typeUrl: string, { name, version, bytes: value }: VersionedResource): Uint8Array {
  return toBinary(ResourceSchema, create(ResourceSchema, { name, version, resource: { typeUrl, value } }));
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
