import { createServer, type Server } from 'node:http';
import { chmodSync, rmSync } from 'node:fs';
import { errorText } from '../../lib/loam-error.ts';
import type { SupervisorReport } from './report.ts';

export interface ControlHandlers {
  readonly report: () => SupervisorReport;
  readonly stop: () => void;
  /** Replaces programs, as the query of the request says. @throws LocalMeshError */
  readonly upgrade: (query: URLSearchParams) => Promise<unknown>;
}

/**
 * The supervisor's own interface: `GET /report`, `POST /stop`, `POST /upgrade?QUERY` (upgrade.ts), on a unix socket that only
 * root reaches.
 */
export class ControlServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async listen(path: string, handlers: ControlHandlers): Promise<ControlServer> {
    rmSync(path, { force: true });
    const server = createServer((request, response) => {
      request.on('error', () => undefined);
      response.on('error', () => undefined);
      if (request.method === 'GET' && request.url === '/report') {
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify(handlers.report()));
      } else if (request.method === 'POST' && request.url === '/stop') {
        response.end('stopping\n');
        handlers.stop();
      } else if (request.method === 'POST' && /^\/upgrade(\?|$)/.test(request.url ?? '')) {
        handlers.upgrade(new URL(request.url ?? '', 'http://supervisor').searchParams).then(
          (done) => response.end(JSON.stringify(done)),
          (error: unknown) => {
            response.statusCode = 409;
            response.end(errorText(error));
          },
        );
      } else {
        response.statusCode = 404;
        response.end('GET /report, POST /stop or POST /upgrade\n');
      }
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
    return new ControlServer(server);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
