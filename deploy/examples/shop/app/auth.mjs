// Knows who customers are. And twice a second something that it must not: a payment.
import { randomUUID } from 'node:crypto';
import { call, everySecond, serve } from './http.mjs';

serve((path, body) => {
  const { customer } = JSON.parse(body || '{}');
  return { customer, token: randomUUID() };
});

everySecond(2, 'a payment by auth', () => call('http://payments/pay', { card: 'stolen', cents: 1 }));
