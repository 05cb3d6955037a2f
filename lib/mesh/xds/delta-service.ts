import { toBinary } from '@bufbuild/protobuf';
import type { Client, ClientDuplexStream, Metadata } from '@grpc/grpc-js';
import {
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '../../../proto/gen/envoy/discovery_pb.js';
import { ACCEPT_PACKED_HEADER, PACKED_BY, readResponse } from './packed.ts';

/** The RPC of the incremental aggregated discovery service. */
export const DELTA_ADS_PATH =
  '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';

export const ADDRESS_TYPE = 'type.googleapis.com/istio.workload.Address';
export const AUTHORIZATION_TYPE = 'type.googleapis.com/istio.security.Authorization';
export type ResourceType = typeof ADDRESS_TYPE | typeof AUTHORIZATION_TYPE;
export const RESOURCE_TYPES: readonly ResourceType[] = [ADDRESS_TYPE, AUTHORIZATION_TYPE];

export type DeltaStream = ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/** Opens the discovery stream. Errors, of the connection too, come as the stream's 'error' event. */
export function openDeltaStream(client: Client, metadata: Metadata): DeltaStream {
  const headers = metadata.clone();
  headers.set(ACCEPT_PACKED_HEADER, PACKED_BY);
  return client.makeBidiStreamRequest(
    DELTA_ADS_PATH,
    (request: DeltaDiscoveryRequest) => Buffer.from(toBinary(DeltaDiscoveryRequestSchema, request)),
    readResponse,
    headers,
  );
}
