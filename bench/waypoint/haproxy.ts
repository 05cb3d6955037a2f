import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { IP, routePath, TLS_PORT } from './plan.ts';
import { Program } from './program.ts';

const TLS13 = 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256';

/**
 * Starts HAProxy as it would be set up for this: one thread, TLS 1.3 with client certificates on both legs, kept
 * connections, routes in a prefix tree (`map_beg`), which is its way for thousands of them. Not as a service.
 */
export async function startHaproxy(folder: string, routes: number): Promise<Program> {
  const file = (name: string): string => join(folder, name);
  const map = Array.from({ length: routes }, (_, i) => `${routePath(i)} backend`).join('\n');
  writeFileSync(file('haproxy.map'), `${map}\n`);
  writeFileSync(
    file('haproxy.cfg'),
    `global
  nbthread 1
  maxconn 8000
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites ${TLS13}
  ssl-default-server-options ssl-min-ver TLSv1.3
  ssl-default-server-ciphersuites ${TLS13}
defaults
  mode http
  option http-keep-alive
  timeout connect 10s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  http-reuse always
frontend in
  bind ${IP.proxy}:${TLS_PORT} ssl crt ${file('waypoint.pem')} ca-file ${file('root.pem')} verify required alpn http/1.1
  use_backend %[path,map_beg(${file('haproxy.map')})]
backend backend
  server b ${IP.backend}:${TLS_PORT} ssl crt ${file('waypoint.pem')} ca-file ${file('root.pem')} verify required
`,
  );
  const haproxy = new Program(folder, 'haproxy', 'proxy', ['haproxy', '-db', '-f', file('haproxy.cfg')]);
  await haproxy.until('its port', () => listening(folder));
  return haproxy;
}

/** Asked from inside its namespace, by a program that only connects. */
async function listening(folder: string): Promise<boolean> {
  const probe = `require('net').connect(${TLS_PORT},'${IP.proxy}').on('connect',()=>process.exit(0)).on('error',()=>process.exit(1))`;
  const program = new Program(folder, 'probe', 'proxy', [process.execPath, '-e', probe]);
  const code = await new Promise((resolve) => program.child.once('exit', resolve));
  return code === 0;
}
