// Writes orders down in Redis, over one connection that it keeps.
import { serve } from './http.mjs';
import { redis } from './redis.mjs';

let connection;

async function db(...command) {
  connection ??= redis('db', 6379);
  try {
    const send = await connection;
    return await send(...command);
  } catch (error) {
    connection = undefined;
    throw error;
  }
}

serve(async ({ body }) => {
  const { cents } = JSON.parse(body);
  const order = await db('INCR', 'orders');
  await db('INCRBY', 'cents', String(cents));
  return { order };
});
