import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { SessionPersistence_Type as Type } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import {
  SessionPersistence,
  type SessionSettings,
} from '../../../../waypoint/resilience/session-persistence.ts';
import { head } from './tools.ts';

const KEY = new Uint8Array(32).fill(7);
const UID = 'Kubernetes//Pod/shop/payments-0';

function setUp(settings: Partial<SessionSettings> = {}, { service = 'shop/payments', key = KEY } = {}) {
  const time = { ms: 1_800_000_000_000 };
  const session = new SessionPersistence(
    { name: 'sid', type: Type.COOKIE, absoluteTimeout: 0, idleTimeout: 0, permanent: false, ...settings },
    service,
    key,
    () => time.ms,
  );
  return { session, time };
}

function cookieOf(setCookie: string | undefined): string {
  return (setCookie ?? assert.fail('no cookie')).split(';')[0] ?? '';
}

function issued(session: SessionPersistence): string {
  return cookieOf(session.issue(UID, undefined)?.value);
}

describe('waypoint/resilience/session-persistence', () => {
  it('sessionPersistence.name, sessionPersistence.type COOKIE: a cookie brings the client back to its endpoint', () => {
    const { session } = setUp({ name: 'shop-session' });
    const header = session.issue(UID, undefined);
    assert.equal(header?.name, 'set-cookie');
    assert.match(header.value, /^shop-session=[\w.-]+; Path=\/; HttpOnly; SameSite=Lax$/);
    const cookie = `a=b; ${cookieOf(header.value)}; c`;
    const found = session.read(head({ cookie }));
    assert.equal(found?.uid, UID);
    assert.equal(session.issue(UID, found), undefined, 'nothing new to tell');
    assert.equal(session.read(head({ 'shop-session': issued(session) })), undefined);
  });

  it('sessionPersistence.type HEADER: a header does', () => {
    const { session } = setUp({ name: 'X-Session', type: Type.HEADER });
    const header = session.issue(UID, undefined);
    assert.equal(header?.name, 'x-session');
    assert.equal(session.read(head({ 'x-session': header.value }))?.uid, UID);
    assert.equal(session.read(head({ cookie: `X-Session=${header.value}` })), undefined);
  });

  it('sessionPersistence.absoluteTimeout: ends a session, however busy', () => {
    const { session, time } = setUp({ absoluteTimeout: 10_000, idleTimeout: 5_000 });
    let cookie = issued(session);
    for (let i = 0; i < 3; i++) {
      time.ms += 3_000;
      const found = session.read(head({ cookie })) ?? assert.fail();
      cookie = cookieOf(session.issue(UID, found)?.value);
    }
    time.ms += 1_000;
    assert.equal(session.read(head({ cookie })), undefined);
  });

  it('sessionPersistence.idleTimeout: ends a session without requests, and each request renews it', () => {
    const { session, time } = setUp({ idleTimeout: 5_000 });
    let cookie = issued(session);
    for (let i = 0; i < 10; i++) {
      time.ms += 4_000;
      const found = session.read(head({ cookie })) ?? assert.fail();
      cookie = cookieOf(session.issue(UID, found)?.value);
      assert.equal(session.issue(UID, session.read(head({ cookie }))), undefined, 'once for each second');
    }
    time.ms += 5_000;
    assert.equal(session.read(head({ cookie })), undefined);
  });

  it('sessionPersistence.permanent: Max-Age is what is left of the absolute timeout', () => {
    const { session, time } = setUp({ permanent: true, absoluteTimeout: 3_600_000, idleTimeout: 600_000 });
    const first = session.issue(UID, undefined)?.value;
    assert.match(first ?? '', /; Max-Age=3600; /);
    time.ms += 100_000;
    const found = session.read(head({ cookie: cookieOf(first) }));
    assert.match(session.issue(UID, found)?.value ?? '', /; Max-Age=3500; /);
    assert.ok(
      !setUp({ absoluteTimeout: 3_600_000 }).session.issue(UID, undefined)?.value.includes('Max-Age'),
    );
  });

  it('a session that moves to another endpoint begins anew', () => {
    const { session, time } = setUp({ absoluteTimeout: 10_000 });
    const found = session.read(head({ cookie: issued(session) }));
    time.ms += 9_000;
    const moved = cookieOf(session.issue('other', found)?.value);
    time.ms += 9_000;
    assert.equal(session.read(head({ cookie: moved }))?.uid, 'other');
  });

  it('a session is worth nothing for another Service, name or key', () => {
    const cookie = issued(setUp().session);
    assert.equal(setUp().session.read(head({ cookie }))?.uid, UID);
    assert.equal(setUp({}, { service: 'shop/auth' }).session.read(head({ cookie })), undefined);
    assert.equal(setUp({}, { key: new Uint8Array(32).fill(8) }).session.read(head({ cookie })), undefined);
    assert.equal(
      setUp({ name: 'other' }).session.read(head({ cookie: cookie.replace('sid', 'other') })),
      undefined,
    );
  });

  it('one changed character is a forgery', () => {
    const { session } = setUp();
    const cookie = issued(session);
    fc.assert(
      fc.property(
        fc.integer({ min: 4, max: cookie.length - 1 }),
        fc.constantFrom(...'aZ0-_.="'),
        (at, by) => {
          fc.pre(cookie[at] !== by);
          const forged = cookie.slice(0, at) + by + cookie.slice(at + 1);
          const read = session.read(head({ cookie: forged }));
          // The last character of base64 carries bits that do not count.
          assert.ok(read === undefined || (at === cookie.length - 1 && read.uid === UID));
        },
      ),
    );
  });

  it('any text at all as a cookie is read without harm', () => {
    const { session } = setUp();
    fc.assert(fc.property(fc.string(), (cookie) => assert.equal(session.read(head({ cookie })), undefined)));
    assert.equal(session.read(head({ cookie: `sid=${'a'.repeat(1_000_000)}` })), undefined);
  });

  it('a cookie of a parent domain that comes first does not hide ours', () => {
    const { session } = setUp();
    assert.equal(session.read(head({ cookie: `sid=theirs; sid="x"; ${issued(session)}` }))?.uid, UID);
  });

  it('a path cannot bring in attributes', () => {
    const { session } = setUp();
    assert.match(session.issue(UID, undefined, '/cart')?.value ?? '', /; Path=\/cart; /);
    for (const path of ['/a; Domain=evil', '/a\r\nx: y', 'cart', '']) {
      assert.match(session.issue(UID, undefined, path)?.value ?? '', /; Path=\/; HttpOnly/);
    }
  });

  it('refuses a name that cannot be one, and a short key', () => {
    assert.throws(() => setUp({ name: 'a b' }), {
      code: 'SESSION_NAME',
      message: /sessionPersistence\.name "a b"/,
    });
    assert.throws(() => setUp({}, { key: new Uint8Array(16) }), { code: 'SESSION_KEY' });
  });
});
