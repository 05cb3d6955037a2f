// Knows who customers are. It is not reliable: every six seconds it is down for two. And twice a second it does something that
// it must not: a charge.
import { randomUUID } from 'node:crypto';
import process from 'node:process';
import { setInterval, setTimeout } from 'node:timers';
import { call, everySecond, serve } from './http.mjs';

const EVERY_MS = Number(process.env.DOWN_EVERY_MS ?? 6000);
const DOWN_MS = Number(process.env.DOWN_MS ?? 2000);

const server = serve(({ body }) => {
  const { customer } = JSON.parse(body || '{}');
  return { customer, token: randomUUID(), by: 'auth' };
});

if (DOWN_MS > 0)
  setInterval(() => {
    server.down();
    setTimeout(server.up, DOWN_MS);
  }, EVERY_MS);

everySecond(2, 'a charge by auth', () => call('http://payments/charge', { card: 'stolen', cents: 1 }));
