import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { compileFilter } from '../../../../../controller/compile/telemetry/filter.ts';
import { compileExpression, type Value } from '../../../../../lib/mesh/telemetry/expression.ts';

const FAILED: Readonly<Record<string, Value>> = {
  'connection.mtls': true,
  'source.namespace': 'shop',
  'request.url_path': '/v1beta3/pets',
  'request.duration': 250,
  'response.code': 404,
  'response.flags': 'NR',
};

/** What a filter says of what ended; undefined is CEL's error. */
function says(text: string, attributes = FAILED): Value | undefined {
  const result = compileFilter(text);
  assert(result.ok, text);
  return compileExpression(result.expression)((name) => attributes[name]);
}

describe('filters of access logs', () => {
  for (const [text, expected] of [
    ['response.code >= 400', true],
    ['response.code < 400', false],
    ['response.code in [200, 404]', true],
    ['response.code in []', false],
    ['response.code != -1', true],
    ['connection.mtls && request.url_path.contains("v1beta3")', true],
    ['request.url_path.startsWith("/v2") || request.url_path.endsWith("pets")', true],
    ['!connection.mtls', false],
    ['request.duration > duration("0.2s")', true],
    ['request.duration > duration("1m")', false],
    ['has(response.flags) && response.flags == "NR"', true],
    ['has(request.method)', false],
    ['source.namespace == "shop"', true],
    // CEL: an error counts only where the other side does not decide.
    ['request.method == "GET"', undefined],
    ['request.method == "GET" || response.code == 404', true],
    ['response.code == 404 || request.method == "GET"', true],
    ['request.method == "GET" && response.code == 200', false],
    ['request.method == "GET" && response.code == 404', undefined],
    ['!(request.method == "GET")', undefined],
  ] as const)
    it(`says ${expected} to ${text}`, () => assert.equal(says(text), expected));
});
