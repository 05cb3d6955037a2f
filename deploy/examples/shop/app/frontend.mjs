// Customers: signs in with auth, then pays. And twice a second something that it must not: the database, directly, and the
// payments of others.
import { randomBytes } from 'node:crypto';
import process from 'node:process';
import { call, everySecond, serve } from './http.mjs';
import { redis } from './redis.mjs';

const ORDERS_PER_SECOND = Number(process.env.ORDERS_PER_SECOND ?? 20);
let paid = 0;

serve(() => ({ paid }));

/** A trace of its own for each order; the last digit asks that it is recorded (W3C Trace Context). */
function newTrace() {
  return { traceparent: `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01` };
}

everySecond(ORDERS_PER_SECOND, 'orders', async () => {
  const trace = newTrace();
  const { token } = await call('http://auth/sign-in', { customer: 'ada' }, trace);
  await call('http://payments/charge', { token, card: 'card-number-4111-1111', cents: 1250 }, trace);
  paid += 1;
});

everySecond(2, 'the payments of others', () => call('http://payments/charges'));

everySecond(2, 'the database, directly', async () => {
  const db = await redis('db', 6379);
  try {
    await db('GET', 'orders');
  } finally {
    db.close();
  }
});
