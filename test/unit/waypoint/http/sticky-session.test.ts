import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import {
  BackendSchema,
  RouteRuleSchema,
  SessionPersistence_Type as Type,
  SessionPersistenceSchema,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { sessionSettings, StickySession } from '../../../../waypoint/http/sticky-session.ts';
import { serves, storeOf, workload } from '../../lib/mesh/state/mesh.ts';
import { head } from '../resilience/tools.ts';
import { headers } from '../support/exchanges.ts';
import { key } from '../support/resources.ts';

const KEY = new Uint8Array(32).fill(1);
const POD = workload('a', '10.0.0.1', { services: [serves('pay-v2')] });
const WORKLOADS = storeOf(POD);

function settings(type = Type.COOKIE) {
  return create(SessionPersistenceSchema, { name: 'Seat', type });
}

/** What a client of that Service brings back after its first response. */
function issued(of: ReturnType<typeof settings>, service = 'pay', secret = KEY): Record<string, string> {
  const response = headers();
  StickySession.of(of, key(service), head(), WORKLOADS, secret).write(response, POD.uid);
  const cookie = response['set-cookie'];
  if (Array.isArray(cookie)) return { cookie: (cookie[0] ?? '').split(';', 1)[0] ?? '' };
  return { seat: String(response['seat']) };
}

describe('waypoint/http/sticky-session', () => {
  for (const type of [Type.COOKIE, Type.HEADER]) {
    it(`leads a client back by what it was given, as ${Type[type]}`, () => {
      const of = settings(type);
      const back = StickySession.of(of, key('pay'), head(issued(of)), WORKLOADS, KEY);
      assert.equal(back.uid, POD.uid);
      const response = headers();
      back.write(response, POD.uid);
      assert.deepEqual({ ...response }, {}, 'the client has what it needs');
    });
  }

  it('knows nobody who brings nothing, or what was sealed for another Service or with another key', () => {
    const of = settings();
    const at = (service: string, brought: Record<string, string>) =>
      StickySession.of(of, key(service), head(brought), WORKLOADS, KEY).uid;
    assert.equal(at('pay', {}), undefined);
    assert.equal(at('auth', issued(of, 'pay')), undefined);
    assert.equal(at('auth', issued(of, 'auth')), POD.uid);
    assert.equal(at('pay', issued(of, 'pay')), POD.uid);
    assert.equal(at('pay', issued(of, 'pay', new Uint8Array(32).fill(2))), undefined);
  });

  it('binds sessions to their Service whichever of several with the same settings was asked first', () => {
    // Two instances of a waypoint, each with its own copy of the settings.
    const [one, two] = [settings(), settings()];
    issued(one, 'auth');
    assert.equal(StickySession.of(two, key('pay'), head(issued(one, 'pay')), WORKLOADS, KEY).uid, POD.uid);
  });

  it("prefers the backend that the session's endpoint belongs to", () => {
    const of = settings();
    const backends = ['pay-v1', 'pay-v2'].map((name) => create(BackendSchema, { service: key(name) }));
    const session = StickySession.of(of, key('pay'), head(issued(of)), WORKLOADS, KEY);
    assert.equal(session.preferredService(backends), key('pay-v2'));
    assert.equal(session.preferredService(backends.slice(0, 1)), undefined);
    const gone = StickySession.of(of, key('pay'), head(issued(of)), storeOf(), KEY);
    assert.equal(gone.preferredService(backends), undefined);
    assert.equal(
      StickySession.of(of, key('pay'), head(), WORKLOADS, KEY).preferredService(backends),
      undefined,
    );
  });

  it("adds its cookie to the application's own", () => {
    for (const others of ['a=1', ['a=1', 'b=2']]) {
      const response = headers({ 'set-cookie': others });
      StickySession.of(settings(), key('pay'), head(), WORKLOADS, KEY).write(response, POD.uid);
      const all = response['set-cookie'];
      assert.ok(Array.isArray(all));
      assert.deepEqual(all.slice(0, -1), [others].flat());
      assert.match(all.at(-1) ?? '', /^Seat=.*HttpOnly/);
    }
  });

  it("takes a rule's settings before the policy's", () => {
    const [own, policys] = [settings(), settings()];
    const rule = create(RouteRuleSchema, { sessionPersistence: own });
    assert.equal(sessionSettings(rule, policys), own);
    assert.equal(sessionSettings(create(RouteRuleSchema), policys), policys);
    assert.equal(sessionSettings(undefined, undefined), undefined);
  });
});
