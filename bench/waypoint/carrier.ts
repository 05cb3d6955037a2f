import { once } from 'node:events';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { CertificateStore } from '../../lib/mesh/hbone/certificate-store.ts';
import { forwardedHeader, newTraceparent } from '../../lib/mesh/hbone/hbone-headers.ts';
import { HbonePool } from '../../lib/mesh/hbone/hbone-pool.ts';
import type { CertificateBundle } from '../../lib/mesh/identity/certificate-bundle.ts';
import { hboneServerTls } from '../../lib/mesh/identity/tls-context.ts';
import {
  HBONE_PORT,
  identityOf,
  IP,
  SERVICE_HOST,
  SERVICE_PORT,
  TARGET_PORT,
  TLS_PORT,
  VIP,
  type Way,
} from './plan.ts';

/** Opens one client connection by some way: what is written is the client's HTTP/1.1. */
export type Carrier = () => Promise<Duplex>;

/**
 * The same client for every way; only how its bytes are carried differs. For Loam it is what a ztunnel does: streams on
 * pooled HBONE connections, by ztunnel's own pool. For HAProxy each client connection is a TLS connection of its own.
 */
export function carrierOf(way: Way, bundle: CertificateBundle): Carrier {
  switch (way) {
    case 'haproxy':
      return () => dialTls(IP.proxy, bundle);
    case 'direct-tls':
      return () => dialTls(IP.backend, bundle);
    case 'loam':
      return hboneTo(IP.proxy, 'waypoint', `${VIP}:${SERVICE_PORT}`, bundle);
    case 'direct-hbone':
      return hboneTo(IP.backend, 'backend', `${IP.backend}:${TARGET_PORT}`, bundle);
  }
}

async function dialTls(host: string, bundle: CertificateBundle): Promise<Duplex> {
  const { key, cert, ca, minVersion } = hboneServerTls(bundle);
  const socket = tls.connect({
    ...{ host, port: TLS_PORT, key, cert, ca, minVersion },
    ALPNProtocols: ['http/1.1'],
    // The chain is checked; neither contender's certificate has a DNS name.
    checkServerIdentity: () => undefined,
  });
  await once(socket, 'secureConnect');
  socket.setNoDelay(true);
  return socket;
}

function hboneTo(ip: string, account: string, authority: string, bundle: CertificateBundle): Carrier {
  const certificates = new CertificateStore();
  certificates.put(bundle);
  const pool = new HbonePool();
  const identity = identityOf('client');
  let port = 20_000;
  const key = {
    ...{ sourcePodUid: 'bench', sourceIdentity: identity, destinationUid: account },
    address: { ip, port: HBONE_PORT },
    expectedIdentities: [identityOf(account)],
  };
  const source = {
    sockets: {
      dialRemote: (to: { ip: string; port: number }) => net.connect({ host: to.ip, port: to.port }),
    },
    certificate: () => certificates.whenValid(identity, 1_000),
  };
  return () => {
    port = port === 60_000 ? 20_000 : port + 1;
    return pool.open(key, source, {
      ':authority': authority,
      forwarded: forwardedHeader({ ip: IP.client, port }, SERVICE_HOST),
      baggage: 'k8s.cluster.name=Kubernetes,k8s.namespace.name=default,service.name=client',
      traceparent: newTraceparent(),
    });
  };
}
