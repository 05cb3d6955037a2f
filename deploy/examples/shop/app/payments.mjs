// Takes a payment and has it written down. Where FAIL_EVERY is set it fails each so-manieth request, before it does anything.
import process from 'node:process';
import { call, serve } from './http.mjs';

const FAIL_EVERY = Number(process.env.FAIL_EVERY ?? 0);
let asked = 0;

serve(async ({ body, trace }) => {
  asked += 1;
  if (FAIL_EVERY > 0 && asked % FAIL_EVERY === 0)
    throw Object.assign(new Error('this version has a fault'), { status: 503 });
  const { cents } = JSON.parse(body);
  const { order } = await call('http://backend/orders', { cents }, trace);
  return { order, by: process.env.POD_NAME };
});
