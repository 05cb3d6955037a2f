import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { pino } from 'pino';
import {
  AccessLog,
  type AccessRecord,
  inForms,
  textLine,
} from '../../../../../lib/mesh/telemetry/access-log.ts';
import { formsOf, openForms } from '../../../../../lib/mesh/telemetry/lines.ts';
import type { Expression } from '../../../../../lib/mesh/telemetry/expression.ts';

const RECORD: AccessRecord = {
  level: 'info',
  message: 'connection complete',
  fields: {
    'src.addr': '198.18.0.1:5',
    error: 'a "b"\nlevel=error',
    bytes_sent: 3,
    policy: undefined,
    empty: '',
  },
};
const MTLS: Expression = { op: 'attribute', name: 'connection.mtls' };

describe('lines of the access log', () => {
  it('are in text what they are in JSON, and nobody’s text makes another line of them', () => {
    assert.equal(
      textLine(RECORD, new Date(0)),
      '1970-01-01T00:00:00.000Z\tinfo\taccess\tconnection complete\t' +
        'src.addr=198.18.0.1:5 error="a \\"b\\"\\nlevel=error" bytes_sent=3 empty=""\n',
    );
  });

  it('hold nothing that a terminal obeys', () => {
    const hostile = '\x1b[2J \x9b2J \x7f \u2028 \u202e';
    const line = textLine({ ...RECORD, fields: { path: hostile } }, new Date(0));
    assert.match(line, /^[\x20-\x7e\t]+\n$/);
    assert.equal(JSON.parse(line.slice(line.indexOf('path=') + 'path='.length)), hostile);
  });

  it('go where those of the program go, by its level', () => {
    const lines: string[] = [];
    const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
    const access = new AccessLog(log);
    for (const record of inForms(RECORD, ['json', 'text'])) access.write(record);
    assert.equal(lines.length, 2);
    assert.match(lines[0] ?? '', /"scope":"access","src.addr":"198.18.0.1:5"/);
    assert.match(lines[1] ?? '', /\taccess\tconnection complete\tsrc.addr=/);
    log.level = 'warn';
    new AccessLog(log).write({ ...RECORD, format: 'text' });
    assert.equal(lines.length, 2);
  });

  it('are those that are asked for', () => {
    const yes = (): boolean => true;
    const absent = (): undefined => undefined;
    assert.deepEqual(formsOf(undefined, yes), ['json']);
    assert.deepEqual(formsOf({ logs: undefined, tracing: undefined }, yes), ['json']);
    assert.deepEqual(formsOf({ logs: [], tracing: undefined }, yes), []);
    const side = {
      logs: [
        { format: 'json', filter: undefined },
        { format: 'text', filter: MTLS },
      ],
      tracing: undefined,
    } as const;
    assert.deepEqual(formsOf(side, yes), ['json', 'text']);
    assert.deepEqual(formsOf(side, absent), ['json'], 'what asks for what is not there is no yes');
    assert.deepEqual(openForms(side), ['json']);
    assert.deepEqual(openForms(undefined), ['json']);
  });
});
