// Takes a payment and has it written down.
import process from 'node:process';
import { call, serve } from './http.mjs';

serve(async (path, body, peer) => {
  const { cents } = JSON.parse(body);
  const { order } = await call('http://backend/orders', { cents });
  return { order, by: process.env.POD_NAME, from: peer };
});
