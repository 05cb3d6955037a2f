/**
 * The backend of every way: `node backend.ts FOLDER`. One responder for bytes of HTTP/1.1, reached by plain mutual TLS
 * (as HAProxy does) or by an HBONE CONNECT (as Loam does); it answers each request head with the same 128 bytes.
 */
import http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { hboneServerTls } from '../../lib/mesh/identity/tls-context.ts';
import { CONNECTION_WINDOW_BYTES, SERVER_SESSION_OPTIONS } from '../../lib/mesh/hbone/h2-settings.ts';
import { readBundle } from './authority.ts';
import { HBONE_PORT, IP, TLS_PORT } from './plan.ts';

const BODY = 'x'.repeat(128);
const RESPONSE = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`,
);
const HEAD_END = '\r\n\r\n';

/** Requests have no body, so that a request is what ends with an empty line. */
function respond(stream: Duplex): void {
  let rest = '';
  stream.on('error', () => stream.destroy());
  stream.on('end', () => stream.end());
  stream.on('data', (chunk: Buffer) => {
    rest += chunk.toString('latin1');
    for (let end = rest.indexOf(HEAD_END); end >= 0; end = rest.indexOf(HEAD_END)) {
      rest = rest.slice(end + HEAD_END.length);
      stream.write(RESPONSE);
    }
  });
}

const bundle = readBundle(process.argv[2] ?? '.', 'backend');
const plain = tls.createServer({ ...hboneServerTls(bundle), ALPNProtocols: ['http/1.1'] }, (socket) => {
  socket.setNoDelay(true);
  respond(socket);
});
const hbone = http2.createSecureServer({ ...hboneServerTls(bundle), ...SERVER_SESSION_OPTIONS });
hbone.on('session', (session) => {
  session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
  session.on('error', () => undefined);
});
hbone.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
  stream.on('error', () => undefined);
  const connect = headers[':method'] === 'CONNECT';
  stream.respond({ ':status': connect ? 200 : 400 }, { endStream: !connect });
  if (connect) respond(stream);
});
plain.on('tlsClientError', () => undefined);
hbone.on('tlsClientError', () => undefined);
plain.listen(TLS_PORT, IP.backend);
hbone.listen(HBONE_PORT, IP.backend, () => console.log('ready'));
