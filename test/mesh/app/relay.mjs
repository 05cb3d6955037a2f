// Answers each request with the headers that it came with, after it has asked the next one where NEXT names one. It hands on
// what a program does that knows of traces.
import { createServer, request } from 'node:http';
import process from 'node:process';

const HANDED_ON = /^(traceparent|tracestate|b3|x-b3-.+|x-request-id)$/;

function ask(url, headers) {
  return new Promise((resolve, reject) => {
    const sent = request(url, { headers, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => resolve(JSON.parse(text)));
    });
    sent.on('error', reject);
    sent.end();
  });
}

createServer(async (incoming, response) => {
  const { headers } = incoming;
  const { NEXT } = process.env;
  const trace = Object.fromEntries(Object.entries(headers).filter(([name]) => HANDED_ON.test(name)));
  try {
    const next = NEXT === undefined ? undefined : await ask(NEXT, trace);
    response.end(`${JSON.stringify({ headers, next })}\n`);
  } catch (error) {
    response.statusCode = 502;
    response.end(`${JSON.stringify({ headers, error: error.message })}\n`);
  }
}).listen(80);
