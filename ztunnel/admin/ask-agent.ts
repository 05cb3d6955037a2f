import { request } from 'node:http';
import type { Answer } from '../../lib/admin/http-routes.ts';

const TIMEOUT_MS = 4_000;
/** More than any page of a node with as many pods as the kernel's maps hold. */
const MAX_BYTES = 16 * 2 ** 20;

/**
 * Asks the node's agent on its unix socket, with bounds of time and size.
 *
 * @returns its answer, whatever its status. @throws Error when there is none, or it does not end
 */
export function askAgent(socketPath: string, method: 'GET' | 'POST', path: string): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const asked = request({ socketPath, method, path, agent: false, signal }, (response) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    response.on('data', (part: Buffer) => {
      parts.push(part);
      bytes += part.length;
      if (bytes > MAX_BYTES) response.destroy(new Error(`more than ${MAX_BYTES} bytes`));
    });
    response.on('error', reject);
    response.on('end', () => {
      const { statusCode = 502, headers } = response;
      const type = headers['content-type'] ?? 'text/plain; version=0.0.4';
      resolve({ status: statusCode, type, body: Buffer.concat(parts).toString() });
    });
  });
  asked.on('error', reject);
  asked.end();
  return promise;
}
