// Pays, as it may. And twice a second each something that it must not: Services of the shop, the printer beside it, and its host.
import { readFileSync } from 'node:fs';
import { call, everySecond, serve } from './http.mjs';
import { redis } from './redis.mjs';

const RTF_GATEWAY = 0x2;
/** Of the ztunnel of this node, which tells its metrics to whoever reaches it. */
const HOST_PORT = 15020;
let paid = 0;

serve(() => ({ paid }));

/** The address of the host, as this pod's default route has it (proc(5), /proc/net/route: hexadecimal, in host order). */
function hostAddress() {
  for (const line of readFileSync('/proc/net/route', 'utf8').split('\n').slice(1)) {
    const [, destination, gateway = '', flags = '0'] = line.split('\t');
    if (destination !== '00000000' || (parseInt(flags, 16) & RTF_GATEWAY) === 0) continue;
    return (gateway.match(/../g) ?? [])
      .map((byte) => parseInt(byte, 16))
      .reverse()
      .join('.');
  }
  throw new Error('this pod has no default route');
}

everySecond(4, 'payments', async () => {
  await call('http://payments.shop/charge', { card: 'card-number-4111-1111', cents: 300 });
  paid += 1;
});

everySecond(2, 'the backend', () => call('http://backend.shop/orders', { cents: 300 }));

everySecond(2, 'the database', async () => {
  const db = await redis('db.shop', 6379);
  try {
    await db('GET', 'orders');
  } finally {
    db.close();
  }
});

everySecond(2, 'the printer', () => call('http://printer/', { lines: ['paid'] }));

everySecond(2, 'the host', () => call(`http://${hostAddress()}:${HOST_PORT}/metrics`));
