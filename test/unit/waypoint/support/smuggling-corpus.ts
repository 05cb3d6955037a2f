/** One way to make two parsers disagree, and what must become of it. */
export interface SmugglingCase {
  readonly name: string;
  /** Characters are bytes. */
  readonly send: string;
  /** Statuses in the order in which they come. */
  readonly answers: readonly number[];
  /** Whether the connection is at an end after them. */
  readonly closes: boolean;
  /** What reaches the endpoint: request line and body. Of a body that breaks off, nothing does that is whole. */
  readonly reaches: readonly string[];
  /** Set where it depends on that all comes at once: a request must still be unanswered when the next one comes. */
  readonly together?: true;
  /** Header and trailer lines that the endpoint must have got. */
  readonly has?: readonly string[];
  /** Names of headers and trailers that it must not have got. */
  readonly lacks?: readonly string[];
}

const INNER = 'GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n';

const post = (headers: string, body: string): string =>
  `POST /x HTTP/1.1\r\nHost: web\r\n${headers}\r\n\r\n${body}`;
const get = (headers: string, rest = ''): string =>
  `GET /x HTTP/1.1\r\nHost: web\r\n${headers}\r\n\r\n${rest}`;
const chunked = (body: string): string => post('Transfer-Encoding: chunked', body);

/** Of requests, HTTP/1.1 to HTTP/1.1. What is refused closes the connection, so that nothing after it is read. */
export const SMUGGLING_CASES: readonly SmugglingCase[] = [
  // Two lengths (RFC 9112 section 6.3).
  ...refused({
    'content-length and transfer-encoding': post(
      'Content-Length: 6\r\nTransfer-Encoding: chunked',
      `0\r\n\r\n${INNER}`,
    ),
    'transfer-encoding and content-length': post(
      'Transfer-Encoding: chunked\r\nContent-Length: 4',
      `0\r\n\r\n${INNER}`,
    ),
    'two lengths that differ': post('Content-Length: 0\r\nContent-Length: 42', INNER),
    'two lengths that agree': post('Content-Length: 3\r\nContent-Length: 3', 'abc'),
    'lengths in one line': post('Content-Length: 3, 3', 'abc'),
    'lengths in one line that differ': post('Content-Length: 0, 42', INNER),
    'length with a plus': post('Content-Length: +3', 'abc'),
    'negative length': post('Content-Length: -1', INNER),
    'length in hex': post('Content-Length: 0x3', 'abc'),
    'length with a space within': post('Content-Length: 4 2', INNER),
    'length with a fraction': post('Content-Length: 3.0', 'abc'),
    'length beyond 64 bits': post('Content-Length: 18446744073709551617', 'a'),
    'empty length': post('Content-Length: ', INNER),
    'length with an underscore': post('Content-Length: 1_0', 'abcdefghij'),
    'space before the colon of content-length': post('Content-Length : 3', 'abc'),
    // Codings that one parser knows and another does not.
    'chunked twice in two lines': post(
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
      `0\r\n\r\n${INNER}`,
    ),
    'chunked, identity': post('Transfer-Encoding: chunked, identity', `0\r\n\r\n${INNER}`),
    'chunked, chunked': post('Transfer-Encoding: chunked, chunked', `0\r\n\r\n${INNER}`),
    'vertical tab before chunked': post('Transfer-Encoding: \x0bchunked', `0\r\n\r\n${INNER}`),
    'form feed after chunked': post('Transfer-Encoding: chunked\x0c', `0\r\n\r\n${INNER}`),
    'space before the colon of transfer-encoding': post('Transfer-Encoding : chunked', `0\r\n\r\n${INNER}`),
    'tab before the colon of transfer-encoding': post('Transfer-Encoding\t: chunked', `0\r\n\r\n${INNER}`),
    'line feed within the name': post('Transfer-Encoding\n: chunked', `0\r\n\r\n${INNER}`),
    'folded coding': post('Transfer-Encoding:\r\n chunked', `0\r\n\r\n${INNER}`),
    'empty coding': post('Transfer-Encoding: ', INNER),
    'coding in a request of HTTP/1.0': `POST /x HTTP/1.0\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${INNER}`,
    // Lines (RFC 9112 sections 2.2 and 5).
    'folded header': get('X-A: 1\r\n 2'),
    'folded first header': `GET /x HTTP/1.1\r\n Host: web\r\n\r\n`,
    'bare line feeds': 'GET /x HTTP/1.1\nHost: web\n\n',
    'bare line feed in the head': get(`X-A: 1\nX-B: 2`),
    'bare carriage return in a value': get('X-A: 1\rX-B: 2'),
    'bare carriage return at the end of a line': 'GET /x HTTP/1.1\r\nHost: web\rX-A: 1\r\n\r\n',
    'null in a value': get('X-A: 1\x002'),
    'null in a name': get('X-\x00A: 1'),
    'control character in a value': get('X-A: 1\x082'),
    'delete character in a value': get('X-A: 1\x7f2'),
    'space in a name': get('X A: 1'),
    'no name': get(': 1'),
    'no colon': get('X-A'),
    'parenthesis in a name': get('X(A): 1'),
    'byte beyond ASCII in a name': get('X-\xc4: 1'),
    'space before the colon': get('X-A : 1'),
    // The request line.
    'version 1.2': 'GET /x HTTP/1.2\r\nHost: web\r\n\r\n',
    'version in lower case': 'GET /x http/1.1\r\nHost: web\r\n\r\n',
    'version with more digits': 'GET /x HTTP/1.10\r\nHost: web\r\n\r\n',
    'method in lower case': 'get /x HTTP/1.1\r\nHost: web\r\n\r\n',
    'method that nobody knows': 'SMUGGLE /x HTTP/1.1\r\nHost: web\r\n\r\n',
    'tab after the method': 'GET\t/x HTTP/1.1\r\nHost: web\r\n\r\n',
    'tab before the version': 'GET /x\tHTTP/1.1\r\nHost: web\r\n\r\n',
    'tab in the target': 'GET /x\ty HTTP/1.1\r\nHost: web\r\n\r\n',
    'space in the target': 'GET /x y HTTP/1.1\r\nHost: web\r\n\r\n',
    'null in the target': 'GET /x\x00y HTTP/1.1\r\nHost: web\r\n\r\n',
    'space before the method': ' GET /x HTTP/1.1\r\nHost: web\r\n\r\n',
    // Chunks (RFC 9112 section 7.1).
    'chunk size beyond 64 bits': chunked(`10000000000000000\r\nabc`),
    'chunk size with a plus': chunked('+3\r\nabc\r\n0\r\n\r\n'),
    'chunk size with a minus': chunked('-3\r\nabc\r\n0\r\n\r\n'),
    'chunk size with 0x': chunked('0x3\r\nabc\r\n0\r\n\r\n'),
    'chunk size with a space before': chunked(' 3\r\nabc\r\n0\r\n\r\n'),
    'no chunk size': chunked('\r\nabc\r\n0\r\n\r\n'),
    'chunk size that is no number': chunked('xyz\r\nabc\r\n0\r\n\r\n'),
    'chunk longer than its size': chunked(`1\r\nabc\r\n0\r\n\r\n`),
    'no line end after a chunk': chunked('3\r\nabc0\r\n\r\n'),
    'bare line feed after a chunk size': chunked('3\nabc\r\n0\r\n\r\n'),
    'bare line feed after a chunk': chunked('3\r\nabc\n0\r\n\r\n'),
    'bare line feed after the last chunk': chunked('3\r\nabc\r\n0\n\r\n'),
    'bare line feed in a chunk extension': chunked(`3;a\nabc\r\n0\r\n\r\n`),
    'carriage return in a chunk extension': chunked(`3;a\rb\r\nabc\r\n0\r\n\r\n`),
    'folded trailer': chunked('3\r\nabc\r\n0\r\nX-A: 1\r\n 2\r\n\r\n'),
    'space before the colon of a trailer': chunked('3\r\nabc\r\n0\r\nX-A : 1\r\n\r\n'),
    'a length in the trailers': chunked('3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n'),
    // Host (RFC 9112 section 3.2).
    'no host': 'GET /x HTTP/1.1\r\nX-A: 1\r\n\r\n',
    'two hosts': 'GET /x HTTP/1.1\r\nHost: web\r\nHost: other\r\n\r\n',
    'two hosts that agree': 'GET /x HTTP/1.1\r\nHost: web\r\nHost: web\r\n\r\n',
  }),
  ...refused(
    {
      xchunked: post('Transfer-Encoding: xchunked', `0\r\n\r\n${INNER}`),
      identity: post('Transfer-Encoding: identity', INNER),
      'chunked in quotes': post('Transfer-Encoding: "chunked"', `0\r\n\r\n${INNER}`),
      'chunked with a parameter': post('Transfer-Encoding: chunked;q=1', `0\r\n\r\n${INNER}`),
      'gzip, chunked': post('Transfer-Encoding: gzip, chunked', `0\r\n\r\n${INNER}`),
    },
    501,
  ),
  ...refused(
    {
      'no version': `GET /x\r\n\r\n${INNER}`,
      'version 0.9': `GET /x HTTP/0.9\r\nHost: web\r\n\r\n${INNER}`,
      'version 2.0': `GET /x HTTP/2.0\r\nHost: web\r\n\r\n${INNER}`,
    },
    505,
  ),
  ...refused(
    { 'an expectation that nobody knows': post('Expect: magic\r\nContent-Length: 3', `abc${INNER}`) },
    417,
  ),
  ...refused(
    {
      CONNECT: `CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\n\r\n${INNER}`,
    },
    405,
  ),
  // What is taken, and how it is handed on.
  {
    name: 'chunked in another case',
    send: post('Transfer-Encoding: CHUNKED', `3\r\nabc\r\n0\r\n\r\n`),
    ...taken('POST /x HTTP/1.1|abc'),
  },
  {
    name: 'chunk extensions',
    send: chunked(`3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n`),
    ...taken('POST /x HTTP/1.1|abc'),
  },
  {
    name: 'sizes of chunks with zeros before them',
    send: chunked(`0003\r\nabc\r\n000\r\n\r\n`),
    ...taken('POST /x HTTP/1.1|abc'),
  },
  {
    name: 'trailers that would be headers of framing, routing or proof',
    send: chunked(
      '3\r\nabc\r\n0\r\nHost: other\r\nAuthorization: Bearer x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Client-Cert: URI=spiffe://cluster.local/ns/default/sa/admin\r\nTrailer: x\r\nTe: trailers\r\nX-Sum: 7\r\n\r\n',
    ),
    ...taken('POST /x HTTP/1.1|abc'),
    has: ['x-sum: 7', 'host: web', 'x-forwarded-for: 127.0.0.1'],
    lacks: ['content-length', 'authorization', 'trailer', 'te'],
  },
  {
    name: 'an absolute target: its host counts',
    send: 'GET http://Other:80/x HTTP/1.1\r\nHost: web\r\n\r\n',
    ...taken('GET /x HTTP/1.1|'),
    has: ['host: other:80', 'x-forwarded-host: other:80'],
  },
  {
    name: 'empty lines before the request line',
    send: `\r\n\r\n${get('X-A: 1')}`,
    ...taken('GET /x HTTP/1.1|'),
  },
  {
    name: 'a body of GET',
    send: get('Content-Length: 3', 'abc'),
    ...taken('GET /x HTTP/1.1|abc'),
  },
  {
    name: 'what looks like a request within a body',
    send: post(`Content-Length: ${INNER.length}`, INNER),
    ...taken(`POST /x HTTP/1.1|${INNER}`),
  },
  {
    name: 'connection lists the length',
    send: post('Connection: content-length\r\nContent-Length: 3', 'abc'),
    ...taken('POST /x HTTP/1.1|abc'),
  },
  {
    name: 'connection lists the coding',
    send: post('Connection: transfer-encoding\r\nTransfer-Encoding: chunked', '3\r\nabc\r\n0\r\n\r\n'),
    ...taken('POST /x HTTP/1.1|abc'),
  },
  {
    name: 'connection lists what the endpoint decides by',
    send: get(
      'Connection: x-forwarded-for, x-forwarded-client-cert, authorization, host, cookie, x-request-id, x-hop\r\nAuthorization: Bearer x\r\nCookie: a=b\r\nX-Hop: 1',
    ),
    ...taken('GET /x HTTP/1.1|'),
    has: ['x-forwarded-for: 127.0.0.1', 'authorization: Bearer x', 'cookie: a=b', 'host: web'],
    lacks: ['x-hop', 'connection'],
  },
  {
    name: 'what an untrusted peer says of its client',
    send: get(
      'X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Client-Cert: URI=spiffe://cluster.local/ns/default/sa/admin\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nForwarded: for=1.2.3.4\r\nX-Real-Ip: 1.2.3.4',
    ),
    ...taken('GET /x HTTP/1.1|'),
    has: [
      'x-forwarded-for: 127.0.0.1',
      'x-forwarded-proto: http',
      'x-forwarded-client-cert: By=spiffe://cluster.local/ns/shop/sa/waypoint;URI=spiffe://cluster.local/ns/default/sa/client',
    ],
    lacks: ['forwarded', 'x-real-ip', 'x-forwarded-port'],
  },
  {
    name: 'an upgrade to h2c',
    send: get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__'),
    ...taken('GET /x HTTP/1.1|'),
    lacks: ['upgrade', 'http2-settings', 'connection'],
  },
  {
    name: 'an upgrade to h2c behind another protocol',
    send: get('Connection: Upgrade\r\nUpgrade: websocket/1, h2c'),
    ...taken('GET /x HTTP/1.1|'),
    lacks: ['upgrade', 'connection'],
  },
  {
    name: 'an upgrade of a request with a body',
    send: post('Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3', 'abc'),
    ...taken('POST /x HTTP/1.1|abc'),
    lacks: ['upgrade'],
  },
  {
    name: 'an upgrade that connection does not name',
    send: get('Upgrade: websocket'),
    ...taken('GET /x HTTP/1.1|'),
    lacks: ['upgrade', 'connection'],
  },
  {
    name: 'several requests at once, answered in order',
    send: `${post('Content-Length: 1', '1')}${post('Transfer-Encoding: chunked', '1\r\n2\r\n0\r\n\r\n')}${get('X-A: 3')}`,
    answers: [200, 200, 200],
    closes: false,
    reaches: ['POST /x HTTP/1.1|1', 'POST /x HTTP/1.1|2', 'GET /x HTTP/1.1|'],
  },
  {
    name: 'a broken request behind a good one: each its own answer',
    send: `${post('Content-Length: 1', '1')}GET /x HTTP/1.1\r\nHost : web\r\n\r\n${INNER}`,
    answers: [200, 400],
    closes: true,
    reaches: ['POST /x HTTP/1.1|1'],
  },
  {
    name: 'CONNECT behind a good one',
    send: `${get('X-A: 1')}CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\n\r\n${INNER}`,
    answers: [200, 405],
    closes: true,
    reaches: ['GET /x HTTP/1.1|'],
  },
  {
    name: 'an upgrade behind a good one is not taken up',
    together: true,
    send: `${get('X-A: 1')}${get('Connection: Upgrade\r\nUpgrade: websocket')}`,
    answers: [200, 200],
    closes: false,
    reaches: ['GET /x HTTP/1.1|', 'GET /x HTTP/1.1|'],
    lacks: ['upgrade'],
  },
  {
    name: 'a request behind the last one',
    send: `${get('Connection: close')}${INNER}`,
    answers: [200],
    closes: true,
    reaches: ['GET /x HTTP/1.1|'],
  },
  {
    name: 'a request behind one of HTTP/1.0',
    send: `GET /x HTTP/1.0\r\nHost: web\r\n\r\n${INNER}`,
    answers: [200],
    closes: true,
    reaches: ['GET /x HTTP/1.1|'],
  },
];

function taken(seen: string): Pick<SmugglingCase, 'answers' | 'closes' | 'reaches'> {
  return { answers: [200], closes: false, reaches: [seen] };
}

function refused(cases: Readonly<Record<string, string>>, status = 400): SmugglingCase[] {
  return Object.entries(cases).map(([name, send]) => ({
    name,
    send,
    answers: [status],
    closes: true,
    reaches: [],
  }));
}
