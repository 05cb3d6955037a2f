import http from 'node:http';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { createHash } from 'node:crypto';
import { Buffer } from 'node:buffer';
import { clearTimeout, setTimeout } from 'node:timers';

/**
 * Says texts one after the other, each when what it waits for has come, byte for byte.
 *
 * @param steps each `{ say?, until?, end? }`: sends `say`, ends its half, then waits for text that `until` (a regular
 *   expression) matches in what has come since the last step
 * @returns all that came, and how it ended: `done`, `closed`, an error code or `timeout`
 */
export function conversation({ host, port, steps, timeoutMs = 10_000 }) {
  return new Promise((resolve) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    let received = '';
    let from = 0;
    let at = -1;
    const timer = setTimeout(() => finish('timeout'), timeoutMs);
    const finish = (end) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ received, end });
    };
    const next = () => {
      at += 1;
      const step = steps[at];
      if (step === undefined) return void finish('done');
      from = received.length;
      if (step.say !== undefined) socket.write(step.say, 'latin1');
      if (step.end) socket.end();
      look();
    };
    const look = () => {
      const until = steps[at]?.until;
      if (at >= 0 && until === undefined) next();
      else if (at >= 0 && until !== 'close' && new RegExp(until).test(received.slice(from))) next();
    };
    socket.on('connect', next);
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      look();
    });
    socket.on('end', () => finish(steps[at]?.until === 'close' ? 'done' : 'closed'));
    socket.on('error', (error) => finish(error.code));
  });
}

/** Sends so many bytes and its end, and reads until the other end. */
export function tcp({ host, port, bytes, timeoutMs = 20_000 }) {
  const chunk = Buffer.alloc(64 * 1024, 't');
  return new Promise((resolve) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    const hash = createHash('sha256');
    let received = '';
    const timer = setTimeout(() => done('timeout'), timeoutMs);
    const done = (end) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ received, end, sha256: hash.copy().digest('hex') });
    };
    let left = bytes;
    const more = () => {
      while (left > 0) {
        const now = left < chunk.length ? chunk.subarray(0, left) : chunk;
        left -= now.length;
        hash.update(now);
        if (!socket.write(now)) return void socket.once('drain', more);
      }
      socket.end();
    };
    socket.on('connect', more);
    socket.on('data', (data) => (received += data.toString()));
    socket.on('end', () => done('closed'));
    socket.on('error', (error) => done(error.code));
  });
}

export function tls({ host, port, timeoutMs = 10_000 }) {
  return new Promise((resolve) => {
    const socket = connectTls({
      host,
      port,
      ciphers: 'PSK',
      maxVersion: 'TLSv1.2',
      pskCallback: () => ({ identity: 'client', psk: Buffer.alloc(32, 7) }),
      checkServerIdentity: () => undefined,
    });
    let received = '';
    const timer = setTimeout(() => done('timeout'), timeoutMs);
    const done = (end) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ received, end });
    };
    socket.on('data', (data) => (received += data.toString()));
    socket.on('end', () => done('closed'));
    socket.on('error', (error) => done(error.code));
  });
}

/** Gets the first event of a stream, and only then has the second one sent. */
export function events({ host, port, id }) {
  const get = (path) =>
    new Promise((resolve, reject) => {
      http.get({ host, port, path, agent: false }, resolve).on('error', reject);
    });
  return new Promise((resolve, reject) => {
    get(`/events?id=${id}`).then((res) => {
      const chunks = [];
      res.on('data', (chunk) => {
        chunks.push(chunk.toString());
        if (chunks.length === 1) get(`/release?id=${id}`).then((r) => r.resume(), reject);
      });
      res.on('end', () => resolve({ chunks, type: res.headers['content-type'] }));
      res.on('error', reject);
    }, reject);
  });
}

/** Goes on sending a body that does not end, until the response is there. */
export function early({ host, port, timeoutMs = 10_000 }) {
  return new Promise((resolve) => {
    const req = http.request({ host, port, method: 'POST', path: '/early', agent: false });
    const chunk = Buffer.alloc(16 * 1024, 'e');
    let answered = false;
    const timer = setTimeout(() => req.destroy(new Error('timeout')), timeoutMs);
    const done = (result) => {
      answered = true;
      clearTimeout(timer);
      resolve(result);
    };
    const more = () => {
      if (answered) return;
      if (req.write(chunk)) setTimeout(more, 5);
      else req.once('drain', more);
    };
    req.on('response', (res) => {
      let text = '';
      res.on('data', (data) => (text += data.toString()));
      res.on('end', () => {
        done({ status: res.statusCode, text });
        req.destroy();
      });
      res.on('error', (error) => done({ status: res.statusCode, text, error: error.code ?? error.message }));
    });
    req.on('error', (error) => done({ error: error.code ?? error.message }));
    more();
  });
}
