import assert from 'node:assert/strict';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import type { CorsSchema } from '../../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import {
  applyRequestFilters,
  applyResponseChanges,
} from '../../../../../../lib/mesh/waypoint/routing/filters/apply-filters.ts';
import { filter, head, headers } from './fixtures.ts';

type Cors = Omit<MessageInitShape<typeof CorsSchema>, '$typeName'>;
const ORIGIN = 'https://app.example';

/** Headers of the response to a simple request, or the waypoint's own answer to a preflight. */
function ask(
  cors: Cors,
  request: Record<string, string>,
  { method = 'GET', backend = {} }: { method?: string; backend?: Record<string, string> } = {},
): { status: number | undefined; headers: Record<string, unknown> } {
  const asked = head('/', { method, headers: request });
  const filters = [filter({ case: 'cors', value: { maxAge: 5, ...cors } })];
  const outcome = applyRequestFilters(asked, filters, { prefix: '', scheme: 'http' });
  if (outcome.kind === 'respond') {
    return { status: outcome.response.status, headers: { ...outcome.response.headers } };
  }
  const response = headers(backend);
  applyResponseChanges(response, outcome.response);
  return { status: undefined, headers: { ...response } };
}

const preflight = (cors: Cors, request: Record<string, string> = {}): ReturnType<typeof ask> =>
  ask(cors, { origin: ORIGIN, 'access-control-request-method': 'PUT', ...request }, { method: 'OPTIONS' });

describe('CORS', () => {
  describe('of a simple request', () => {
    it('names the origin that is allowed', () => {
      const cors = { allowOrigins: ['https://other.example', ORIGIN], exposeHeaders: ['x-a', 'x-b'] };
      assert.deepEqual(ask(cors, { origin: ORIGIN }).headers, {
        'access-control-allow-origin': ORIGIN,
        'access-control-expose-headers': 'x-a, x-b',
        vary: 'origin',
      });
    });
    it('names no other, and takes away what the backend allowed', () => {
      const backend = {
        'access-control-allow-origin': '*',
        'access-control-allow-credentials': 'true',
        x: '1',
      };
      const cors = { allowOrigins: [ORIGIN] };
      assert.deepEqual(ask(cors, { origin: 'https://evil.example' }, { backend }).headers, {
        x: '1',
        vary: 'origin',
      });
    });
    it('without an origin tells caches only that there may be one', () =>
      assert.deepEqual(ask({ allowOrigins: [ORIGIN] }, {}).headers, { vary: 'origin' }));
    it('allows all with an asterisk', () =>
      assert.deepEqual(ask({ allowOrigins: ['*'] }, { origin: ORIGIN }).headers, {
        'access-control-allow-origin': '*',
      }));
    it('never gives credentials to an asterisk, but to the origin by name', () =>
      assert.deepEqual(ask({ allowOrigins: ['*'], allowCredentials: true }, { origin: ORIGIN }).headers, {
        'access-control-allow-origin': ORIGIN,
        'access-control-allow-credentials': 'true',
        vary: 'origin',
      }));
    it('never gives credentials to the origin null', () => {
      const cors = { allowOrigins: ['*'], allowCredentials: true };
      assert.deepEqual(ask(cors, { origin: 'null' }).headers, { vary: 'origin' });
      assert.deepEqual(ask({ allowOrigins: ['*'] }, { origin: 'null' }).headers, {
        'access-control-allow-origin': '*',
      });
    });
    it('adds to what the response varies by', () => {
      const vary = (value: string): unknown =>
        ask({ allowOrigins: [ORIGIN] }, { origin: ORIGIN }, { backend: { vary: value } }).headers['vary'];
      assert.equal(vary('accept'), 'accept, origin');
      assert.equal(vary('Origin, accept'), 'Origin, accept');
      assert.equal(vary('*'), '*');
    });
    it('exposes all by an asterisk, or by name with credentials', () => {
      const expose = (allowCredentials: boolean): unknown =>
        ask(
          { allowOrigins: [ORIGIN], allowCredentials, exposeHeaders: ['*'] },
          { origin: ORIGIN },
          { backend: { 'content-type': 'a/b', 'x-a': '1', 'set-cookie': 'a=1', vary: 'origin' } },
        ).headers['access-control-expose-headers'];
      assert.equal(expose(false), '*');
      assert.equal(expose(true), 'x-a, vary');
    });
    it('lets an OPTIONS that asks for no method through', () =>
      assert.equal(
        ask({ allowOrigins: [ORIGIN] }, { origin: ORIGIN }, { method: 'OPTIONS' }).status,
        undefined,
      ));
  });

  describe('of a preflight', () => {
    it('answers what is allowed', () =>
      assert.deepEqual(
        preflight({
          allowOrigins: [ORIGIN],
          allowCredentials: true,
          allowMethods: ['PUT', 'DELETE'],
          allowHeaders: ['x-a', 'x-b'],
          maxAge: 3600,
        }),
        {
          status: 204,
          headers: {
            'content-length': '0',
            'access-control-allow-origin': ORIGIN,
            'access-control-allow-credentials': 'true',
            'access-control-allow-methods': 'PUT, DELETE',
            'access-control-allow-headers': 'x-a, x-b',
            'access-control-max-age': '3600',
            vary: 'origin',
          },
        },
      ));
    it('answers another origin too, and allows it nothing', () =>
      assert.deepEqual(preflight({ allowOrigins: ['https://other.example'], allowMethods: ['PUT'] }), {
        status: 204,
        headers: { 'content-length': '0', vary: 'origin' },
      }));
    it('means all by an asterisk without credentials', () => {
      const { headers: got } = preflight({ allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'] });
      assert.equal(got['access-control-allow-origin'], '*');
      assert.equal(got['access-control-allow-methods'], '*');
      assert.equal(got['access-control-allow-headers'], '*');
    });
    it('says what was asked for in place of an asterisk with credentials, and nothing that is no name', () => {
      const cors = { allowOrigins: ['*'], allowCredentials: true, allowMethods: ['*'], allowHeaders: ['*'] };
      const { headers: got } = preflight(cors, { 'access-control-request-headers': 'x-a,x-b, x c,' });
      assert.equal(got['access-control-allow-methods'], 'PUT');
      assert.equal(got['access-control-allow-headers'], 'x-a, x-b');
      assert.equal(got['access-control-allow-origin'], ORIGIN);
    });
  });

  describe('knows an origin', () => {
    const cases: [pattern: string, origin: string, allowed: boolean][] = [
      ['https://app.example', 'https://app.example', true],
      ['https://app.example', 'HTTPS://APP.example', true],
      ['https://app.example', 'http://app.example', false],
      ['https://app.example', 'https://app.example:443', true],
      ['https://app.example:443', 'https://app.example', true],
      ['https://app.example', 'https://app.example:8443', false],
      ['https://app.example:8443', 'https://app.example:8443', true],
      ['https://app.example', 'https://app.example.evil', false],
      ['https://app.example', 'https://evilapp.example', false],
      ['https://app.example', 'null', false],
      ['https://*.example', 'https://app.example', true],
      ['https://*.example', 'https://a.b.example', true],
      ['https://*.example', 'https://example', false],
      ['https://*.example', 'https://.example', false],
      ['https://*.example', 'https://appexample', false],
      ['https://*.example', 'https://evil.com/.example', false],
      ['https://*.example', 'https://evil.com?.example', false],
      ['https://*.example', 'https://evil.com#.example', false],
      ['https://*.example', 'https://user@app.example', false],
      ['https://*.example', 'https://app.example:1', false],
      ['https://*.example:*', 'https://app.example:1', true],
      ['https://app-*.example', 'https://app-1.example', true],
      ['https://[fd00::1]', 'https://[fd00::1]', true],
    ];
    for (const [pattern, origin, allowed] of cases) {
      it(`${pattern} ${allowed ? 'covers' : 'does not cover'} ${origin}`, () => {
        const { headers: got } = ask({ allowOrigins: [pattern] }, { origin });
        assert.equal(got['access-control-allow-origin'], allowed ? origin : undefined);
      });
    }
  });
});
