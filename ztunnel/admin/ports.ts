import { once } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import { createServer } from 'node:net';
import { serveRoutes, type Routes } from '../../lib/admin/http-routes.ts';
import type { ListenAddress } from '../../lib/admin/listen-address.ts';

export interface Port {
  readonly address: ListenAddress;
  readonly routes: Routes;
}

/**
 * The ports for admin, metrics and readiness, of which there is one set for each network namespace, while during an
 * upgrade there are two ztunnels. They belong to the one that serves: one that starts beside it leaves them alone, opens
 * its own when it takes over, and the former then closes its. In this moment both listen (SO_REUSEPORT), so that
 * nobody who asks is refused.
 */
export class AdminPorts {
  readonly #ports: readonly Port[];
  readonly #onClose: () => void;
  #servers: HttpServer[] | undefined;
  /** Changes, one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  /** @param onClose called when they are given up, before readers of long answers could notice */
  constructor(ports: readonly Port[], onClose: () => void = () => undefined) {
    this.#ports = ports;
    this.#onClose = onClose;
  }

  /**
   * Opens all, unless one is another's.
   *
   * @returns whether they are open
   * @throws Error when one cannot be listened on for another reason
   */
  openIfFree(): Promise<boolean> {
    return this.#inTurn(async () => {
      for (const { address } of this.#ports) if (await isTaken(address)) return false;
      await this.#open();
      return true;
    });
  }

  /** Opens all, beside another ztunnel that has them. @throws Error when one cannot be listened on; none is open then */
  open(): Promise<void> {
    return this.#inTurn(() => this.#open());
  }

  /** Closes all; what was asked already is answered. */
  close(): Promise<void> {
    return this.#inTurn(() => {
      if (this.#servers !== undefined) this.#onClose();
      for (const server of this.#servers ?? []) {
        server.close();
        server.closeIdleConnections();
      }
      this.#servers = undefined;
      return Promise.resolve();
    });
  }

  async #open(): Promise<void> {
    if (this.#servers !== undefined) return;
    const results = await Promise.allSettled(
      this.#ports.map(({ address, routes }) => serveRoutes(address, routes, true)),
    );
    const servers = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) {
      for (const server of servers) server.close();
      throw failed.reason;
    }
    this.#servers = servers;
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(change);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

/** By listening without SO_REUSEPORT, which fails beside anybody. @throws Error for another reason than EADDRINUSE */
async function isTaken({ host, port }: ListenAddress): Promise<boolean> {
  const probe = createServer();
  try {
    probe.listen({ host, port });
    await once(probe, 'listening');
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return true;
    throw error;
  } finally {
    probe.close();
  }
}
