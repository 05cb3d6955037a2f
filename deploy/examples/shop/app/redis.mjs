// As much of Redis's protocol (RESP) as the shop needs: commands of strings, answers that are one line or one string.
import { connect } from 'node:net';

const TIMEOUT_MS = 5000;

/**
 * Connects. Resolves to `send(...words)`, which resolves to the answer; `send.close()` ends the connection.
 */
export function redis(host, port) {
  const socket = connect({ host, port });
  const waiting = [];
  let text = '';
  const fail = (error) => {
    socket.destroy();
    for (const { reject } of waiting.splice(0)) reject(error);
  };
  socket.setTimeout(TIMEOUT_MS, () => {
    if (waiting.length > 0) fail(new Error('Redis does not answer'));
  });
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('the connection was closed')));
  socket.on('data', (chunk) => {
    text += chunk;
    for (let answer = takeAnswer(); answer !== undefined; answer = takeAnswer()) {
      const { resolve, reject } = waiting.shift();
      if (answer.error === undefined) resolve(answer.value);
      else reject(new Error(answer.error));
    }
  });

  /** One whole answer off the front of what has arrived. */
  function takeAnswer() {
    const end = text.indexOf('\r\n');
    if (end < 0) return undefined;
    const line = text.slice(1, end);
    const kind = text[0];
    if (kind !== '$' || line === '-1') {
      text = text.slice(end + 2);
      if (kind === '-') return { error: line };
      return { value: kind === ':' ? Number(line) : kind === '$' ? null : line };
    }
    const length = Number(line);
    if (text.length < end + 2 + length + 2) return undefined;
    const value = text.slice(end + 2, end + 2 + length);
    text = text.slice(end + 2 + length + 2);
    return { value };
  }

  const send = (...words) =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(new Error('the connection was closed'));
      waiting.push({ resolve, reject });
      socket.write(`*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`);
    });
  send.close = () => socket.end();
  return new Promise((resolve, reject) => {
    socket.once('connect', () => resolve(send));
    socket.once('error', reject);
  });
}
