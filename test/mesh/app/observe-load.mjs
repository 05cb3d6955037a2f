// Load of the test of observe mode: `observe-load.mjs <host> <http port> <echo port>`. One connection that stays, and new ones all the
// time, until its input ends; then what went wrong, as JSON.
import console from 'node:console';
import { request } from 'node:http';
import { connect } from 'node:net';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

const [host, http, echo] = process.argv.slice(2);
const errors = [];
let over = false;
let calls = 0;
let echoes = 0;
process.stdin.on('end', () => (over = true)).resume();

const stays = connect({ host, port: Number(echo) });
stays.on('error', (error) => errors.push(`the one that stays: ${error.code}`));
stays.on('close', () => over || errors.push('the one that stays was closed'));
stays.on('data', () => (echoes += 1));

const call = () =>
  new Promise((resolve) => {
    const sent = request({ host, port: Number(http), agent: false }, (response) => {
      response.resume();
      response.on('end', resolve);
      response.on('error', (error) => resolve(errors.push(`an answer: ${error.code}`)));
    });
    sent.on('error', (error) => resolve(errors.push(`a call: ${error.code}`)));
    sent.end();
  });

while (!over) {
  await call();
  calls += 1;
  stays.write('x');
  await sleep(20);
}
stays.destroy();
console.log(JSON.stringify({ calls, echoes, errors }));
