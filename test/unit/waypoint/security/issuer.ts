import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

export const ISSUER = 'https://id.example';

/** A key pair of an issuer; `jwk` is the public half. */
export interface IssuerKey {
  readonly kid: string;
  readonly jwk: Record<string, unknown>;
  readonly sign: (claims: Record<string, unknown>, header?: Record<string, unknown>) => Promise<string>;
}

export async function makeKey(kid: string, alg = 'ES256'): Promise<IssuerKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg);
  const jwk = { ...(await exportJWK(publicKey)), kid, alg };
  return {
    kid,
    jwk,
    sign: (claims, header = {}) =>
      new SignJWT({ iss: ISSUER, sub: 'alice', exp: Math.floor(Date.now() / 1000) + 600, ...claims })
        .setProtectedHeader({ alg, kid, ...header })
        .sign(privateKey),
  };
}

export function jwks(...keys: readonly IssuerKey[]): string {
  return JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });
}

/** A real HTTP server of key sets on loopback. */
export interface JwksServer {
  readonly uri: string;
  readonly requests: () => number;
  /** What it does with a request from now on. */
  readonly answer: (how: (request: IncomingMessage, response: ServerResponse) => void) => void;
  readonly close: () => Promise<void>;
}

export async function jwksServer(body: string): Promise<JwksServer> {
  let requests = 0;
  let handle = (_: IncomingMessage, response: ServerResponse): void => void response.end(body);
  const server = createServer((request, response) => {
    requests++;
    handle(request, response);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  return {
    uri: `http://127.0.0.1:${port}/jwks`,
    requests: () => requests,
    answer: (how) => (handle = how),
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

/** Waits until something holds; the test's own time limit bounds it. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((done) => setTimeout(done, 5));
}
