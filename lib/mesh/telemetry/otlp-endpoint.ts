/** Where spans go, as the control plane checks it and the data plane reads it: what the one lets pass, the other can use. */

/** Where spans go, and in which of OTLP's two protocols. */
export interface Collector {
  readonly protocol: 'http' | 'grpc';
  /** For the exporter: http or https, with a path where the protocol has one. */
  readonly url: string;
}

const GRPC_SCHEMES: Readonly<Record<string, 'http' | 'https'>> = { 'grpc:': 'http', 'grpcs:': 'https' };
/** A name of DNS with what clusters put in one, an IPv4 address, or an IPv6 address in brackets. */
const HOST = /^(?:[a-z0-9](?:[-a-z0-9_.]*[a-z0-9])?\.?|\[[0-9a-f:.]+\])$/;
/** gRPC reads `unix:4317` as a socket in the file system, and `dns:4317` as a host named 4317 (grpc/grpc, doc/naming.md). */
const SCHEMES_OF_GRPC = /^(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds)$/;

/**
 * Reads where a collector is.
 *
 * @param endpoint `http://host:port` or `https://...`, with or without the path `/v1/traces`, for OTLP/HTTP; `grpc://host:port` or
 * `grpcs://host:port` for OTLP/gRPC, without and with TLS
 * @throws Error when it is none of these, naming it and what is allowed
 */
export function collectorOf(endpoint: string): Collector {
  const url = URL.parse(endpoint);
  if (url !== null && ['http:', 'https:'].includes(url.protocol)) {
    // OTLP/HTTP's path is added where the configuration gives none (OTLP specification, "OTLP/HTTP Request").
    if (url.pathname === '/' || url.pathname === '') url.pathname = '/v1/traces';
    return { protocol: 'http', url: url.href };
  }
  // The SDK tells by http and https alone whether gRPC has TLS, and reads the host by the rules of these, which are stricter.
  const scheme = url === null ? undefined : GRPC_SCHEMES[url.protocol];
  const http =
    url !== null && scheme !== undefined && url.port !== '' && ['', '/'].includes(url.pathname)
      ? URL.parse(`${scheme}://${url.host}`)
      : null;
  if (url !== null && http !== null && HOST.test(http.hostname) && !SCHEMES_OF_GRPC.test(http.hostname))
    return { protocol: 'grpc', url: `${scheme}://${http.hostname}:${url.port}` };
  throw new Error(
    `tracing endpoint ${JSON.stringify(endpoint)} is not of the form http://host:port, https://host:port, grpc://host:port or grpcs://host:port`,
  );
}
