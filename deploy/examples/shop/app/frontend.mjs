// Customers: signs in with auth, then pays. And twice a second something that it must not: the database, directly.
import process from 'node:process';
import { call, everySecond, serve } from './http.mjs';
import { redis } from './redis.mjs';

const ORDERS_PER_SECOND = Number(process.env.ORDERS_PER_SECOND ?? 10);
let paid = 0;

serve(() => ({ paid }));

everySecond(ORDERS_PER_SECOND, 'orders', async () => {
  const { token } = await call('http://auth/sign-in', { customer: 'ada' });
  await call('http://payments/pay', { token, card: 'card-number-4111-1111', cents: 1250 });
  paid += 1;
});

everySecond(2, 'the database, directly', async () => {
  const db = await redis('db', 6379);
  try {
    await db('GET', 'orders');
  } finally {
    db.close();
  }
});
