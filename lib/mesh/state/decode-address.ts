import { fromBinary } from '@bufbuild/protobuf';
import { errorText } from '../../loam-error.ts';
import { parseSpiffeUri, spiffeUri, type Identity } from '../../spiffe.ts';
import {
  AddressSchema,
  type Address,
  type GatewayAddress as WireGateway,
  type NetworkAddress as WireNetworkAddress,
  type Port as WirePort,
  type Service as WireService,
  type Workload as WireWorkload,
} from '../../../proto/gen/istio/workload/workload_pb.js';
import { cidrFromBytes, ipFromBytes } from './ip.ts';
import type { GatewayAddress, Locality, Service, ServiceAddress, ServicePort, Workload } from './model.ts';
import {
  APP_PROTOCOLS,
  APP_TUNNEL_PROTOCOLS,
  BALANCING_MODES,
  HEALTH_POLICIES,
  NETWORK_MODES,
  ROUTING_SCOPES,
  SERVICE_FAMILIES,
  STATUSES,
  TUNNEL_PROTOCOLS,
  VISIBILITIES,
  WORKLOAD_KINDS,
} from './wire-enums.ts';
import { ResourceError } from './resource-error.ts';

/** Istio's wire leaves these out when they have their common value. */
const DEFAULT_TRUST_DOMAIN = 'cluster.local';
const DEFAULT_SERVICE_ACCOUNT = 'default';
const DEFAULT_CAPACITY = 1;
const MAX_PORT = 65535;
const MAX_NAME_CHARS = 1024;

/**
 * Reads an `istio.workload.Address` resource. Nothing of it is trusted: what cannot be right is an error
 * that names the field, never a guess.
 *
 * @param resourceName the name that xDS gave it; its content must agree
 * @throws ResourceError
 */
export function decodeAddress(resourceName: string, bytes: Uint8Array): Workload | Service {
  let address: Address;
  try {
    address = fromBinary(AddressSchema, bytes);
  } catch (error) {
    throw new ResourceError(resourceName, 'resource', bytes, `istio.workload.Address (${errorText(error)})`);
  }
  const decoder = new AddressDecoder(resourceName);
  switch (address.type.case) {
    case 'workload':
      return decoder.workload(address.type.value);
    case 'service':
      return decoder.service(address.type.value);
    case undefined:
      throw new ResourceError(resourceName, 'type', 'unset', 'workload or service');
  }
}

class AddressDecoder {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  workload(wire: WireWorkload): Workload {
    if (wire.uid === '' || wire.uid !== this.#name) this.#fail('uid', wire.uid, "the resource's name");
    const waypoint = wire.waypoint && this.#gateway('waypoint', wire.waypoint);
    const networkGateway = wire.networkGateway && this.#gateway('network_gateway', wire.networkGateway);
    return {
      kind: 'workload',
      uid: wire.uid,
      name: this.#text('name', wire.name),
      namespace: this.#text('namespace', wire.namespace),
      identity: this.#identity(wire),
      addresses: wire.addresses.map((bytes, i) => this.#ip(`addresses[${i}]`, bytes)),
      network: wire.network,
      hostname: wire.hostname,
      tunnelProtocol: this.#enum('tunnel_protocol', wire.tunnelProtocol, TUNNEL_PROTOCOLS),
      ...(waypoint && { waypoint }),
      ...(networkGateway && { networkGateway }),
      node: wire.node,
      canonicalName: wire.canonicalName,
      canonicalRevision: wire.canonicalRevision,
      workloadType: this.#enum('workload_type', wire.workloadType, WORKLOAD_KINDS),
      workloadName: wire.workloadName,
      nativeTunnel: wire.nativeTunnel,
      ...(wire.applicationTunnel && {
        applicationTunnel: {
          protocol: this.#enum(
            'application_tunnel.protocol',
            wire.applicationTunnel.protocol,
            APP_TUNNEL_PROTOCOLS,
          ),
          port: this.#port('application_tunnel.port', wire.applicationTunnel.port, true),
        },
      }),
      services: Object.entries(wire.services).map(([service, list]) => ({
        service: this.#text('services', service),
        ports: list.ports.map((port, i) => this.#ports(`services[${service}].ports[${i}]`, port)),
      })),
      authorizationPolicies: [...wire.authorizationPolicies],
      healthy: this.#enum('status', wire.status, STATUSES) === 'healthy',
      clusterId: wire.clusterId,
      locality: locality(wire.locality),
      hostNetwork: this.#enum('network_mode', wire.networkMode, NETWORK_MODES) === 'host-network',
      capacity: wire.capacity ?? DEFAULT_CAPACITY,
    };
  }

  service(wire: WireService): Service {
    const key = `${wire.namespace}/${wire.hostname}`;
    if (key !== this.#name) this.#fail('namespace and hostname', key, "the resource's name");
    const waypoint = wire.waypoint && this.#gateway('waypoint', wire.waypoint);
    const lb = wire.loadBalancing;
    return {
      kind: 'service',
      key,
      name: this.#text('name', wire.name),
      namespace: this.#text('namespace', wire.namespace),
      hostname: this.#text('hostname', wire.hostname),
      addresses: wire.addresses.map((address, i) => this.#serviceAddress(`addresses[${i}]`, address)),
      ipFamilies: this.#enum('ip_families', wire.ipFamilies, SERVICE_FAMILIES),
      ports: wire.ports.map((port, i) => this.#ports(`ports[${i}]`, port)),
      subjectAltNames: [...wire.subjectAltNames],
      ...(waypoint && { waypoint }),
      weightedWaypoints: wire.weightedWaypoints.map(({ destination, weight }, i) => ({
        gateway: this.#gateway(`weighted_waypoints[${i}].destination`, destination),
        weight,
      })),
      loadBalancing: {
        routingPreference: (lb?.routingPreference ?? []).map((scope, i) =>
          this.#enum(`load_balancing.routing_preference[${i}]`, scope, ROUTING_SCOPES),
        ),
        mode: this.#enum('load_balancing.mode', lb?.mode ?? 0, BALANCING_MODES),
        allowUnhealthy:
          this.#enum('load_balancing.health_policy', lb?.healthPolicy ?? 0, HEALTH_POLICIES) === 'allow-all',
      },
      canonical: wire.canonical,
      visibility: this.#enum('visibility', wire.visibility, VISIBILITIES),
    };
  }

  #identity(wire: WireWorkload): Identity {
    const identity = {
      trustDomain: wire.trustDomain || DEFAULT_TRUST_DOMAIN,
      namespace: wire.namespace,
      serviceAccount: wire.serviceAccount || DEFAULT_SERVICE_ACCOUNT,
    };
    try {
      return parseSpiffeUri(spiffeUri(identity));
    } catch (error) {
      throw new ResourceError(
        this.#name,
        'trust_domain, namespace, service_account',
        identity,
        'a SPIFFE ID',
        { cause: error },
      );
    }
  }

  #gateway(field: string, wire: WireGateway | undefined): GatewayAddress {
    const hboneMtlsPort = this.#port(`${field}.hbone_mtls_port`, wire?.hboneMtlsPort ?? 0, true);
    switch (wire?.destination.case) {
      case 'hostname': {
        const { namespace, hostname } = wire.destination.value;
        this.#text(`${field}.hostname`, hostname);
        return { by: 'hostname', service: `${namespace}/${hostname}`, hboneMtlsPort };
      }
      case 'address': {
        const { network, address } = wire.destination.value;
        const ip = this.#ip(`${field}.address`, address);
        return { by: 'address', address: { network, ip }, hboneMtlsPort };
      }
      case undefined:
        return this.#fail(`${field}.destination`, 'unset', 'hostname or address');
    }
  }

  #serviceAddress(field: string, wire: WireNetworkAddress): ServiceAddress {
    const ip = this.#ip(`${field}.address`, wire.address);
    if (wire.length === undefined) return { network: wire.network, ip };
    const range = cidrFromBytes(wire.address, wire.length);
    if (!range) return this.#fail(`${field}.length`, wire.length, `0 to ${wire.address.length * 8}`);
    const whole = range.length === range.bytes.length * 8;
    return { network: wire.network, ip, ...(!whole && { range }) };
  }

  #ports(field: string, wire: WirePort): ServicePort {
    return {
      servicePort: this.#port(`${field}.service_port`, wire.servicePort, false),
      targetPort: this.#port(`${field}.target_port`, wire.targetPort, true),
      appProtocol: APP_PROTOCOLS[wire.appProtocol] ?? 'unknown',
    };
  }

  #port(field: string, port: number, zeroAllowed: boolean): number {
    if (port > MAX_PORT || (port === 0 && !zeroAllowed)) {
      this.#fail(field, port, `${zeroAllowed ? 0 : 1} to ${MAX_PORT}`);
    }
    return port;
  }

  #ip(field: string, bytes: Uint8Array): string {
    return ipFromBytes(bytes) ?? this.#fail(field, bytes, '4 or 16 bytes');
  }

  #text(field: string, text: string): string {
    if (text === '' || text.length > MAX_NAME_CHARS)
      this.#fail(field, text, `1 to ${MAX_NAME_CHARS} characters`);
    return text;
  }

  /** proto3 enums are open: a value from a later version is refused, since its meaning is not known. */
  #enum<T extends string>(field: string, value: number, names: Readonly<Record<number, T>>): T {
    return names[value] ?? this.#fail(field, value, Object.values(names).join(', '));
  }

  #fail(field: string, value: unknown, allowed: string): never {
    throw new ResourceError(this.#name, field, value, allowed);
  }
}

function locality(wire: Locality | undefined): Locality {
  return { region: wire?.region ?? '', zone: wire?.zone ?? '', subzone: wire?.subzone ?? '' };
}
