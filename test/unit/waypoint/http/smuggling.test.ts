import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { Protocol } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { OwnWaypoint } from '../support/own-waypoint.ts';
import { RawClient } from '../support/raw-client.ts';
import { RecordingBackend, type Seen } from '../support/recording-backend.ts';
import { SMUGGLING_CASES, type SmugglingCase } from '../support/smuggling-corpus.ts';

describe('waypoint: requests that two parsers could read in two ways, HTTP/1.1', () => {
  let waypoint: OwnWaypoint;
  let backend: RecordingBackend;

  before(async () => {
    waypoint = await OwnWaypoint.start();
    backend = await RecordingBackend.start(waypoint.podIp);
    waypoint.serve({ name: 'web', protocol: Protocol.HTTP1, targetPort: backend.port });
  });
  after(async () => {
    await waypoint.close();
    backend.close();
  });

  for (const each of SMUGGLING_CASES) {
    it(`${each.answers[0] === 200 ? 'takes' : 'refuses'} ${each.name}`, () => run(each, 'at once'));
  }
  // The same bytes, one by one: what is refused must not depend on how they arrive.
  it('holds to all of it when each byte comes by itself', async function () {
    this.timeout(120_000);
    for (const each of SMUGGLING_CASES) if (each.together !== true) await run(each, 'byte by byte');
  });

  async function run(each: SmugglingCase, how: 'at once' | 'byte by byte'): Promise<void> {
    const client = new RawClient(await waypoint.connect('web'));
    if (how === 'at once') client.send(each.send);
    else await client.sendInPieces(each.send);
    const answers: number[] = [];
    for (let i = 0; i < each.answers.length; i += 1) answers.push((await client.answer())?.status ?? 0);
    assert.deepEqual(answers, each.answers, each.name);
    if (each.closes) assert.equal(await client.end(), '', `${each.name}: nothing after the last answer`);
    else {
      client.send('GET /after HTTP/1.1\r\nHost: web\r\n\r\n');
      assert.equal((await client.answer())?.status, 200, `${each.name}: the connection lives on`);
    }
    client.close();
    // Whoever comes next must get the answer to its own request, on whatever connection is in the pool.
    const next = new RawClient(await waypoint.connect('web'));
    next.send('POST /next HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nnext');
    assert.equal((await next.answer())?.message.body, 'next', `${each.name}: another client's answer`);
    next.close();
    const { requests, garbage } = backend.take();
    const reached = requests.map(({ line, body }) => `${line}|${body}`);
    const sentinels = [...(each.closes ? [] : ['GET /after HTTP/1.1|']), 'POST /next HTTP/1.1|next'];
    assert.deepEqual(reached, [...each.reaches, ...sentinels], each.name);
    for (const broken of garbage) {
      assert.match(broken, /^POST \/x HTTP\/1\.1\r\n/, each.name);
      assert.ok(!broken.includes('smuggled'), each.name);
    }
    const own = requests.slice(0, each.reaches.length);
    const lines = own.flatMap(linesOf);
    for (const line of each.has ?? [])
      assert.ok(lines.includes(line), `${each.name}: ${line}\n${lines.join('\n')}`);
    for (const name of each.lacks ?? []) {
      const found = lines.find((line) => line.startsWith(`${name}:`));
      assert.equal(found, undefined, `${each.name}: ${found}`);
    }
  }
});

function linesOf({ headers, trailers }: Seen): string[] {
  return [...headers, ...trailers].map((line) => {
    const colon = line.indexOf(':');
    return `${line.slice(0, colon).toLowerCase()}:${line.slice(colon + 1)}`;
  });
}
