// The client of the waypoint's tests: takes calls as JSON lines on standard input, `{id, op, args}`, and answers each
// with `{id, result}` or `{id, error}`. Every call ends: with an answer, or with `timeout` in its result.
import console from 'node:console';
import { createInterface } from 'node:readline';
import process from 'node:process';
import { grpcCall } from './way-client-grpc.mjs';
import { burst, loadStart, loadStop, request, stalled } from './way-client-http.mjs';
import { conversation, early, events, tcp, tls } from './way-client-raw.mjs';

const OPS = {
  request,
  burst,
  loadStart,
  loadStop,
  stalled,
  grpc: grpcCall,
  conversation,
  early,
  events,
  tcp,
  tls,
};

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const { id, op, args } = JSON.parse(line);
    try {
      console.log(JSON.stringify({ id, result: await OPS[op](args) }));
    } catch (error) {
      console.log(JSON.stringify({ id, error: error.stack ?? String(error) }));
    }
  })
  .on('close', () => process.exit(0));
console.log(JSON.stringify({ id: 0, result: 'ready' }));
