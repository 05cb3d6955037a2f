import grpc from '@grpc/grpc-js';
import { Buffer } from 'node:buffer';
import { ECHO } from './way-grpc.mjs';

const kept = new Map();
const Client = grpc.makeGenericClientConstructor(ECHO, 'Echo');

/** @returns messages, status code and details, header and trailer `x-…`, and in which order a stream's messages went */
export function grpcCall({ host, port, kind, messages, metadata = {}, deadlineMs = 10_000 }) {
  const client = new Client(`${host}:${port}`, grpc.credentials.createInsecure());
  const meta = new grpc.Metadata();
  for (const [name, value] of Object.entries(metadata)) meta.set(name, value);
  const options = { deadline: Date.now() + deadlineMs };
  const bytes = messages.map((message) => Buffer.from(message));
  return new Promise((resolve) => {
    const received = [];
    let header = {};
    const done = (status, message) => {
      if (message !== undefined) received.push(message.toString());
      client.close();
      resolve({
        code: status.code,
        details: status.details,
        received,
        header,
        trailer: status.metadata?.getMap() ?? {},
      });
    };
    let answer;
    const single = (_error, message) => (answer = message);
    const call =
      kind === 'client'
        ? client.client(meta, options, single)
        : kind === 'server'
          ? client.server(bytes[0], meta, options)
          : kind === 'both'
            ? client.both(meta, options)
            : client[kind](bytes[0], meta, options, single);
    call.on('metadata', (m) => (header = m.getMap()));
    call.on('error', () => undefined);
    if (kind === 'client') {
      for (const message of bytes) call.write(message);
      call.end();
    }
    if (kind === 'both') {
      // The next question is asked only when the last one was answered: nothing may be held back on the way.
      const ask = () => (bytes.length > 0 ? call.write(bytes.shift()) : call.end());
      call.on('data', (message) => {
        received.push(message.toString());
        ask();
      });
      ask();
    }
    if (kind === 'server') call.on('data', (message) => received.push(message.toString()));
    // The callback of a call with one answer comes after its status.
    call.on('status', (status) => globalThis.setImmediate(() => done(status, answer)));
  });
}

/** One call on a channel that is kept for the next. @returns `200 v1`, or how it failed */
export function grpcOutcome({ host, port, timeoutMs = 20_000 }) {
  const key = `${host}:${port}`;
  if (!kept.has(key)) kept.set(key, new Client(key, grpc.credentials.createInsecure()));
  return new Promise((resolve) => {
    let pod = '-';
    const options = { deadline: Date.now() + timeoutMs };
    const call = kept
      .get(key)
      .unary(Buffer.from('load'), new grpc.Metadata(), options, (error) =>
        resolve(error === null ? `200 ${pod}` : `error ${error.code} ${error.details}`),
      );
    call.on('metadata', (metadata) => (pod = String(metadata.get('x-pod')[0] ?? '-')));
  });
}
