import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { spiffeUri, type Identity } from '../../../../../lib/spiffe.ts';
import { MeshError } from '../../../../../lib/mesh/errors.ts';
import type { CertificateAuthority, CertificateRequest } from '../../../../../lib/mesh/identity/ca-client.ts';
import type { CertificateBundle } from '../../../../../lib/mesh/identity/certificate-bundle.ts';
import {
  CertificateManager,
  type CertificateManagerOptions,
} from '../../../../../lib/mesh/identity/certificate-manager.ts';
import { FakeClock } from './fake-clock.ts';
import { TestCa } from './test-ca.ts';

const HOUR_MS = 3_600_000;

function account(serviceAccount: string): Identity {
  return { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount };
}
const A = account('a');
const B = account('b');

/** A CA whose calls the test sees, holds back, and answers. */
class FakeAuthority implements CertificateAuthority {
  readonly asked: string[] = [];
  running = 0;
  mostAtOnce = 0;
  closed = false;
  answer: (request: CertificateRequest) => Promise<readonly string[]>;
  /** Set: calls wait for it. */
  gate: Promise<void> | undefined;
  #wake = Promise.withResolvers<void>();

  constructor(answer: FakeAuthority['answer']) {
    this.answer = answer;
  }

  async createCertificate(request: CertificateRequest): Promise<readonly string[]> {
    this.asked.push(request.identity.serviceAccount);
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.running);
    this.#wake.resolve();
    try {
      await this.gate;
      return await this.answer(request);
    } finally {
      this.running--;
    }
  }

  async untilAsked(times: number): Promise<void> {
    while (this.asked.length < times) {
      this.#wake = Promise.withResolvers();
      await this.#wake.promise;
    }
  }

  close(): void {
    this.closed = true;
  }
}

describe('certificate manager', () => {
  let dir: string;
  let clock: FakeClock;
  let root: TestCa;
  let authority: FakeAuthority;
  let manager: CertificateManager;
  let logged: string[];
  let expiries: [string, number | undefined][];
  let failures: PromiseWithResolvers<void>;

  const rootFile = () => join(dir, 'root.pem');
  const sign = (ca: TestCa, { identity, csrPem }: CertificateRequest, lifeMs = 2 * HOUR_MS) =>
    ca.signCsr(csrPem, [{ type: 'url', value: spiffeUri(identity) }], {
      notBefore: new Date(clock.now()),
      notAfter: new Date(clock.now() + lifeMs),
    });

  function make(more: Partial<CertificateManagerOptions> = {}): CertificateManager {
    const note = (fields: object, message: string) => void logged.push(JSON.stringify([fields, message]));
    manager = new CertificateManager({
      ca: authority,
      rootFile: rootFile(),
      clock,
      random: () => 0.5,
      log: {
        info: note,
        debug: note,
        warn: (fields, message) => {
          note(fields, message);
          failures.resolve();
        },
      },
      onExpiryChange: (identity, at) => void expiries.push([identity, at]),
      ...more,
    });
    return manager;
  }

  /** The next certificate that is handed out after `act`, of whomever or of one identity. */
  async function handedOut(act: () => void, whose?: typeof A): Promise<CertificateBundle> {
    const { promise, resolve } = Promise.withResolvers<CertificateBundle>();
    const known = new Set(manager.snapshot().map((s) => s.serialNumber));
    const stop = manager.onCertificate((bundle) => {
      const isHis = whose === undefined || spiffeUri(bundle.identity) === spiffeUri(whose);
      if (isHis && !known.has(bundle.serialNumber)) resolve(bundle);
    });
    act();
    const bundle = await promise;
    stop();
    return bundle;
  }

  /** The next failure after `act`. */
  async function failed(act: () => void): Promise<void> {
    failures = Promise.withResolvers();
    act();
    await failures.promise;
  }

  /** How long the manager said it would wait after the last failure. */
  function lastWait(): number {
    const line = logged.findLast((l) => l.includes('waitMs')) ?? '';
    return Number(/"waitMs":(\d+)/.exec(line)?.[1]);
  }

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'loam-cert-test-'));
    clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
    root = await TestCa.root('CN=root', {
      notBefore: new Date(clock.now() - HOUR_MS),
      notAfter: new Date(clock.now() + 1000 * HOUR_MS),
    });
    await writeFile(rootFile(), root.pem);
    logged = [];
    expiries = [];
    failures = Promise.withResolvers();
    authority = new FakeAuthority(async (request) => [await sign(root, request), root.pem]);
    make();
  });
  afterEach(async () => {
    manager.stop();
    await rm(dir, { recursive: true });
  });

  it('gets a certificate with a key of its own for an identity, and says when it ends', async () => {
    const bundle = await handedOut(() => manager.acquire(A));
    const leaf = new X509Certificate(bundle.certChainPem);
    assert.ok(leaf.checkPrivateKey(createPrivateKey(bundle.keyPem)));
    assert.equal(leaf.subjectAltName, `URI:${spiffeUri(A)}`);
    assert.equal(bundle.rootsPem.match(/BEGIN/g)?.length, 1);
    assert.equal(bundle.certChainPem.match(/BEGIN/g)?.length, 1, 'no root in the chain');
    assert.deepEqual(expiries, [[spiffeUri(A), bundle.notAfter / 1000]]);
    assert.equal(manager.current(A)?.serialNumber, bundle.serialNumber);
    assert.deepEqual(structuredClone(bundle), bundle);
  });

  it('counts users: one request for two, and forgets with the last', async () => {
    const removed: string[] = [];
    manager.onRemoved((identity, why) => void removed.push(`${identity.serviceAccount} ${why}`));
    await handedOut(() => {
      manager.acquire(A);
      manager.acquire(A);
    });
    manager.release(A);
    assert.ok(manager.current(A));
    manager.release(A);
    assert.equal(manager.current(A), undefined);
    assert.deepEqual(authority.asked, ['a']);
    assert.deepEqual(removed, ['a released']);
    assert.deepEqual(manager.snapshot(), []);
    assert.deepEqual(expiries.at(-1), [spiffeUri(A), undefined]);
  });

  it('drops the answer for an identity that was released meanwhile', async () => {
    const gate = Promise.withResolvers<void>();
    authority.gate = gate.promise;
    manager.acquire(A);
    await authority.untilAsked(1);
    manager.release(A);
    gate.resolve();
    await handedOut(() => manager.acquire(B));
    assert.equal(manager.current(A), undefined);
    assert.ok(!logged.some((line) => line.includes(spiffeUri(A))));
  });

  it('renews at half life with a new key', async () => {
    const first = await handedOut(() => manager.acquire(A));
    clock.advance(HOUR_MS - 1);
    assert.equal(authority.asked.length, 1);
    const second = await handedOut(() => clock.advance(1));
    assert.notEqual(second.keyPem, first.keyPem);
    assert.equal(second.notAfter, first.notAfter + HOUR_MS);
  });

  it('keeps the old certificate until it expires when renewal fails, backing off to 150 s', async () => {
    const removed: string[] = [];
    manager.onRemoved((_, why) => void removed.push(why));
    const first = await handedOut(() => manager.acquire(A));
    authority.answer = () => Promise.reject(new MeshError('CA_UNAVAILABLE', 'away'));
    await failed(() => clock.advance(HOUR_MS));
    const waits: number[] = [];
    for (let i = 0; i < 10; i++) {
      const wait = lastWait();
      waits.push(wait);
      await failed(() => clock.advance(wait));
    }
    assert.deepEqual(waits, [750, 1500, 3000, 6000, 12_000, 24_000, 48_000, 96_000, 150_000, 150_000]);
    assert.equal(manager.current(A)?.serialNumber, first.serialNumber);
    assert.equal(manager.snapshot()[0]?.state, 'valid');
    assert.match(manager.snapshot()[0]?.lastError ?? '', /away/);
    clock.advance(first.notAfter - clock.now());
    assert.equal(manager.current(A), undefined);
    assert.deepEqual(removed, ['expired']);
    assert.equal(manager.snapshot()[0]?.state, 'failing');
    assert.deepEqual(expiries.at(-1), [spiffeUri(A), undefined]);
  });

  it('renews when the clock was set past half life', async () => {
    const first = await handedOut(() => manager.acquire(A));
    clock.set(HOUR_MS);
    const second = await handedOut(() => clock.advance(30_000));
    assert.notEqual(second.serialNumber, first.serialNumber);
  });

  it('fails closed when the clock was set past the end, and recovers with the next certificate', async () => {
    const removed: string[] = [];
    manager.onRemoved((_, why) => void removed.push(why));
    await handedOut(() => manager.acquire(A));
    authority.answer = () => Promise.reject(new MeshError('CA_UNAVAILABLE', 'away'));
    clock.set(3 * HOUR_MS);
    assert.equal(manager.current(A), undefined, 'at once, before any timer');
    await failed(() => clock.advance(30_000));
    assert.deepEqual(removed, ['expired']);
    authority.answer = async (request) => [await sign(root, request)];
    await handedOut(() => clock.advance(1_000));
    assert.ok(manager.current(A));
  });

  it('asks anew when the clock was set back before the begin of its certificate', async () => {
    const first = await handedOut(() => manager.acquire(A));
    // What the root is from, an hour before, is still valid then.
    clock.set(first.notBefore - clock.now() - 60_000);
    assert.equal(manager.current(A), undefined);
    const second = await handedOut(() => clock.advance(30_000));
    assert.ok(second.notBefore <= clock.now());
    assert.ok(manager.current(A));
  });

  it('bounds the requests at once and takes a waiting connection first, renewals last', async () => {
    manager.stop();
    authority = new FakeAuthority(authority.answer);
    make({ concurrency: 1 });
    await handedOut(() => manager.acquire(A));
    const gate = Promise.withResolvers<void>();
    authority.gate = gate.promise;
    manager.acquire(account('busy'));
    await authority.untilAsked(2);
    clock.advance(HOUR_MS);
    manager.acquire(account('warm'));
    manager.acquire(account('urgent'));
    const urgent = manager.waitFor(account('urgent'), 5000);
    gate.resolve();
    await urgent;
    await authority.untilAsked(5);
    assert.deepEqual(authority.asked, ['a', 'busy', 'urgent', 'warm', 'a']);
    assert.equal(authority.mostAtOnce, 1);
  });

  it('lets a connection that waits shorten a long backoff, but not below a second', async () => {
    authority.answer = () => Promise.reject(new MeshError('CA_REFUSED', 'not your pod'));
    await failed(() => manager.acquire(A));
    for (let i = 0; i < 4; i++) await failed(() => clock.advance(lastWait()));
    assert.ok(lastWait() > 10_000);
    const waiting = manager.waitFor(A, 5000);
    assert.equal(clock.pending()[0], 1000);
    authority.answer = async (request) => [await sign(root, request)];
    await handedOut(() => clock.advance(1000));
    assert.equal((await waiting).identity, A);
  });

  it('asks again for one that was refused when another user comes, of whom the CA may have heard by now', async () => {
    authority.answer = () => Promise.reject(new MeshError('CA_REFUSED', 'not your pod'));
    await failed(() => manager.acquire(A));
    authority.answer = async (request) => [await sign(root, request)];
    await handedOut(() => manager.acquire(A));
    assert.deepEqual(authority.asked, ['a', 'a']);
  });

  it('tries the others at once when the CA is back', async () => {
    const { answer } = authority;
    authority.answer = () => Promise.reject(new MeshError('CA_UNAVAILABLE', 'away'));
    await failed(() => manager.acquire(A));
    for (let i = 0; i < 4; i++) await failed(() => clock.advance(lastWait()));
    authority.answer = answer;
    const both = manager.waitFor(B, 1).catch(() => undefined);
    await both;
    await handedOut(() => manager.acquire(B));
    await manager.waitFor(A, 5000);
    assert.ok(manager.current(A) && manager.current(B));
  });

  it('ends a wait with the last failure as its cause', async () => {
    authority.answer = () => Promise.reject(new MeshError('CA_REFUSED', 'not your pod'));
    await failed(() => manager.acquire(A));
    const waiting = manager.waitFor(A, 5000);
    const refused = assert.rejects(waiting, (error: MeshError) => {
      assert.equal(error.code, 'CERTIFICATE_TIMEOUT');
      assert.equal((error.cause as MeshError).code, 'CA_REFUSED');
      return true;
    });
    clock.advance(5000);
    await refused;
    await assert.rejects(manager.waitFor(B, 5000), /of no pod of this node/);
    await assert.rejects(manager.waitFor(A, 5000, AbortSignal.abort()), /no certificate/);
  });

  it('trusts old and new roots while they change over, and drops the old when nothing of it can live', async () => {
    await handedOut(() => manager.acquire(A));
    const next = await TestCa.root('CN=next', {
      notBefore: new Date(clock.now() - HOUR_MS),
      notAfter: new Date(clock.now() + 1000 * HOUR_MS),
    });
    authority.answer = async (request) => [await sign(next, request), next.pem];
    const given: CertificateBundle[] = [];
    manager.onCertificate((bundle) => void given.push(bundle));
    await handedOut(() => manager.acquire(B));
    const roots = (b: CertificateBundle | undefined) => b?.rootsPem.match(/BEGIN/g)?.length;
    assert.equal(roots(manager.current(A)), 2, 'the old certificate is handed out again with both roots');
    assert.equal(roots(given.findLast((b) => spiffeUri(b.identity) === spiffeUri(A))), 2);
    assert.equal(roots(manager.current(B)), 2);
    // The file follows; the old root stays while the first certificate of it could live.
    await writeFile(rootFile(), next.pem);
    await manager.refreshRoots();
    assert.equal(roots(manager.current(B)), 2);
    // Both are renewed then; A may come first.
    await handedOut(() => clock.advance(HOUR_MS), B);
    clock.advance(HOUR_MS);
    await manager.refreshRoots();
    assert.equal(roots(manager.current(B)), 1);
  });

  it('replaces at once what hangs from a root that was taken out of the file, and nothing else', async () => {
    const first = await handedOut(() => manager.acquire(A));
    const next = await TestCa.root('CN=next', {
      notBefore: new Date(clock.now() - HOUR_MS),
      notAfter: new Date(clock.now() + 1000 * HOUR_MS),
    });
    authority.answer = async (request) => [await sign(next, request), next.pem];
    const second = await handedOut(() => manager.acquire(B));
    // One that comes takes nothing away.
    const former = await readFile(rootFile(), 'utf8');
    await writeFile(rootFile(), `${former}${next.pem}`);
    await manager.refreshRoots();
    assert.equal(manager.current(A)?.serialNumber, first.serialNumber);
    await writeFile(rootFile(), next.pem);
    const replaced = await handedOut(() => void manager.refreshRoots(), A);
    assert.notEqual(replaced.serialNumber, first.serialNumber);
    assert.equal(manager.current(B)?.serialNumber, second.serialNumber);
  });

  it('goes on with the last roots when their file breaks', async () => {
    await handedOut(() => manager.acquire(A));
    await writeFile(rootFile(), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----');
    await manager.refreshRoots();
    assert.match(logged.at(-1) ?? '', /root file/);
    await handedOut(() => manager.acquire(B));
  });

  it('never logs or shows a key', async () => {
    const bundle = await handedOut(() => manager.acquire(A));
    const secret = bundle.keyPem.split('\n')[1] ?? '';
    assert.ok(secret.length > 30);
    const shown = logged.join() + JSON.stringify(manager.snapshot());
    assert.ok(!shown.includes('PRIVATE') && !shown.includes(secret));
  });

  it('asks for nothing more once stopped', async () => {
    await handedOut(() => manager.acquire(A));
    manager.stop();
    assert.deepEqual(clock.pending(), []);
    assert.ok(authority.closed);
  });

  describe('with certificates of an earlier process', () => {
    const restored = async (identity: Identity, changes: object = {}) => {
      const names = [{ type: 'url' as const, value: spiffeUri(identity) }];
      const validity = { notBefore: new Date(clock.now()), notAfter: new Date(clock.now() + 2 * HOUR_MS) };
      const { certPem, keyPem } = await root.issue(names, validity);
      return {
        identity: spiffeUri(identity),
        certChainPem: certPem,
        keyPem,
        rootsPem: root.pem,
        ...changes,
      };
    };

    it('uses a good one at once, asks nobody, and renews it at half of its life', async () => {
      make();
      const good = await restored(A);
      manager.restore([good, await restored(B)]);
      manager.acquire(A);
      assert.equal(manager.current(A)?.keyPem, good.keyPem);
      assert.equal(authority.asked.length, 0);
      manager.forgetRestored();
      await handedOut(() => manager.acquire(B));
      assert.deepEqual(authority.asked, ['b'], 'what nobody had acquired is forgotten');
      await handedOut(() => clock.advance(HOUR_MS));
      assert.ok(authority.asked.includes('a'));
    });

    it('asks for another in place of one that is another’s, expired, of an unknown root, or has another key', async () => {
      const stranger = await TestCa.root('CN=stranger');
      const bad = [
        { ...(await restored(B)), identity: spiffeUri(A) },
        await restored(A, { keyPem: (await restored(A)).keyPem }),
        await restored(A, { rootsPem: stranger.pem }),
        await restored(A, { rootsPem: '' }),
        await restored(A, { keyPem: 'no key' }),
        await restored(A, { certChainPem: 'no chain' }),
      ];
      for (const [i, one] of bad.entries()) {
        make();
        manager.restore([one]);
        const bundle = await handedOut(() => manager.acquire(A));
        assert.notEqual(bundle.keyPem, one.keyPem);
        assert.equal(authority.asked.length, i + 1);
        manager.stop();
      }
      const old = await restored(A);
      clock.advance(3 * HOUR_MS);
      make();
      manager.restore([old]);
      await handedOut(() => manager.acquire(A));
      assert.equal(authority.asked.length, bad.length + 1);
    });
  });
});
