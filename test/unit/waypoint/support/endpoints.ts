import net, { type AddressInfo, type Server } from 'node:net';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import {
  AttemptError,
  type AttemptFailure,
  type AttemptRequest,
  type UpstreamAttempt,
} from '../../../../waypoint/http/exchange.ts';
import type { Connector } from '../../../../waypoint/upstream/connector.ts';
import { headers } from './exchanges.ts';

/** Listens on a free port of the loopback. */
export async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Connects by TCP, and counts. */
export class CountingConnector implements Connector {
  made = 0;
  open = 0;
  /** Set: the next connections come only when it is resolved. */
  hold: Promise<void> | undefined;
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  async connect(): Promise<Duplex> {
    await this.hold;
    const socket = net.connect({ port: this.#port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    this.made += 1;
    this.open += 1;
    socket.once('close', () => (this.open -= 1));
    return socket;
  }
}

export function request(
  changes: Partial<AttemptRequest> & { readonly method?: string } = {},
): AttemptRequest {
  const { method = 'GET', ...rest } = changes;
  return {
    head: { method, authority: 'web.t', path: '/', query: '', protocol: 'http2' },
    headers: headers(),
    hasBody: false,
    upgrade: undefined,
    onInformational: () => undefined,
    ...rest,
  };
}

/** How an attempt failed. @throws Error when it did not */
export async function failureOf(attempt: UpstreamAttempt): Promise<AttemptFailure> {
  try {
    await attempt.response;
  } catch (error) {
    if (error instanceof AttemptError) return error.failure;
    throw error;
  }
  throw new Error('the attempt got a response');
}
