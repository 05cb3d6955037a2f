import type { Duplex } from 'node:stream';

/** Makes connections to one endpoint: through its tunnel, or directly where it is not in the mesh. */
export interface Connector {
  /** @returns a byte stream, paused. @throws ProxyError */
  connect(): Promise<Duplex>;
}
