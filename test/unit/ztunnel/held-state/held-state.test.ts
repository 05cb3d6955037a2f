import assert from 'node:assert/strict';
import { closeSync, fstatSync, readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { dup } from '../../../../lib/linux/libc.ts';
import { readSealed, sealedMemory } from '../../../../lib/linux/memfd.ts';
import type { CertificateBundle } from '../../../../lib/mesh/identity/certificate-bundle.ts';
import { spiffeUri } from '../../../../lib/spiffe.ts';
import {
  decodeHeldState,
  encodeHeldState,
  HELD_STATE_MAX_BYTES,
  type HeldStateContent,
} from '../../../../ztunnel/held-state/format.ts';
import { HeldStateKeeper } from '../../../../ztunnel/held-state/keeper.ts';
import { ReceivedState } from '../../../../ztunnel/held-state/received.ts';
import { eventually } from '../support/streams.ts';

const OWNER = { node: 'node-a', clusterId: 'Kubernetes', trustDomain: 'cluster.local' };
const CONTENT: HeldStateContent = {
  types: [{ typeUrl: 'type/a', resources: [{ name: 'x', version: '7', value: Uint8Array.of(1, 2, 3) }] }],
  certificates: [
    { identity: 'spiffe://d/ns/n/sa/s', certChainPem: 'chain', keyPem: 'key', rootsPem: 'roots' },
  ],
};
const bundle = (serviceAccount: string): CertificateBundle => ({
  identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount },
  ...{ certChainPem: 'chain', keyPem: `key of ${serviceAccount}`, rootsPem: 'roots' },
  ...{ notBefore: 0, notAfter: 1, serialNumber: '1' },
});
const openFds = (): number => readdirSync('/proc/self/fd').length;

describe('ztunnel/held-state', () => {
  let logged: string[];
  const note = (message: string, fields: object = {}): void =>
    void logged.push(`${message} ${JSON.stringify(fields)}`);
  const log = { debug: note, info: note, warn: note, error: note };
  beforeEach(() => (logged = []));

  describe('what is received', () => {
    let used: HeldStateContent[];
    beforeEach(() => (used = []));

    /** Takes it as from the agent. */
    async function taken(state: Buffer | undefined, ageMs = 0): Promise<HeldStateContent | undefined> {
      const received = new ReceivedState({
        ...{ owner: OWNER, maxAgeMs: 1000, log },
        use: (content) => used.push(content),
      });
      const before = openFds();
      received.take(state && sealedMemory('test', state), ageMs);
      assert.equal(openFds(), before, 'no descriptor is left');
      return received.wait();
    }

    it('is what was left, of the same node', async () => {
      const content = await taken(encodeHeldState(OWNER, CONTENT));
      assert.equal(content?.types[0]?.typeUrl, 'type/a');
      assert.deepEqual([...(content.types[0].resources[0]?.value ?? [])], [1, 2, 3]);
      assert.equal(content.certificates[0]?.keyPem, 'key');
      assert.equal(used.length, 1);
      assert.doesNotMatch(logged.join(), /key/);
    });

    it('is nothing where the agent holds nothing', async () =>
      assert.equal(await taken(undefined), undefined));

    it('is refused whole when a single byte of it is wrong, or missing, or too many', async () => {
      const good = encodeHeldState(OWNER, CONTENT);
      const bad = [Buffer.alloc(0), Buffer.from('x'), good.subarray(0, 40), good.subarray(0, -1)];
      bad.push(Buffer.concat([good, Buffer.of(0)]));
      for (let at = 0; at < good.length; at += 3) {
        const flipped = Buffer.from(good);
        flipped[at] = (flipped[at] ?? 0) ^ 1;
        bad.push(flipped);
      }
      for (const state of bad) assert.equal(await taken(state), undefined);
      assert.equal(logged.filter((line) => line.includes('HELD_STATE_CORRUPT')).length, bad.length);
      assert.equal(used.length, 0);
    });

    it('is refused with a right checksum over what is no such state', async () => {
      const { createHash } = await import('node:crypto');
      const body = Buffer.from([0x0a, 0x7f, 1]);
      const head = encodeHeldState(OWNER, CONTENT).subarray(0, 8);
      assert.equal(
        await taken(Buffer.concat([head, createHash('sha256').update(body).digest(), body])),
        undefined,
      );
      assert.match(logged.join(), /HELD_STATE_CORRUPT.*cannot be read/);
    });

    it('is refused when it is of another node, cluster or trust domain', async () => {
      for (const field of ['node', 'clusterId', 'trustDomain'] as const) {
        assert.equal(await taken(encodeHeldState({ ...OWNER, [field]: 'other' }, CONTENT)), undefined);
        assert.match(logged.at(-1) ?? '', new RegExp(`HELD_STATE_FOREIGN.*its ${field} is \\\\"other`));
      }
    });

    it('is refused when nobody has kept it up to date for too long', async () => {
      assert.equal(await taken(encodeHeldState(OWNER, CONTENT), 1001), undefined);
      assert.match(logged.join(), /HELD_STATE_STALE/);
      assert.notEqual(await taken(encodeHeldState(OWNER, CONTENT), 1000), undefined);
    });

    it('is not waited for for ever', async () => {
      const received = new ReceivedState({ owner: OWNER, maxAgeMs: 1, use: () => undefined, log });
      assert.equal(await received.wait(), undefined);
      const fd = sealedMemory('late', encodeHeldState(OWNER, CONTENT));
      received.take(fd, 0);
      assert.throws(() => fstatSync(fd), { code: 'EBADF' });
    });
  });

  describe('what is left', () => {
    let handed: (HeldStateContent | undefined)[];
    let keeper: HeldStateKeeper;
    const make = (maxBytes = HELD_STATE_MAX_BYTES): void => {
      handed = [];
      keeper = new HeldStateKeeper({
        ...{ owner: OWNER, maxBytes, log },
        hand: (fd) => {
          handed.push(fd === undefined ? undefined : decodeHeldState(readSealed(fd, maxBytes), OWNER));
          return Promise.resolve();
        },
      });
    };
    beforeEach(() => make());
    afterEach(() => keeper.stop());

    const resource = (name: string, size = 1) => ({ name, version: '1', value: new Uint8Array(size) });
    const names = (content: HeldStateContent | undefined) =>
      content?.types.flatMap(({ resources }) => resources.map(({ name }) => name));

    it('is all that is in force, once this ztunnel serves; then each change, and nothing after it', async () => {
      keeper.resources('type/a', { upserts: [resource('x'), resource('y')], removed: [] });
      keeper.certificate(bundle('a'));
      keeper.certificate(bundle('b'));
      keeper.setActive(true);
      assert(!keeper.isHanded);
      await eventually(() => handed.length === 1);
      await eventually(() => keeper.isHanded);
      assert.deepEqual(names(handed[0]), ['x', 'y']);
      assert.equal(handed[0]?.certificates[0]?.identity, spiffeUri(bundle('a').identity));
      keeper.resources('type/a', { upserts: [resource('z')], removed: ['x'] });
      keeper.certificateGone(spiffeUri(bundle('a').identity));
      assert(!keeper.isHanded);
      await eventually(() => handed.length === 2);
      assert.deepEqual(names(handed[1]), ['y', 'z']);
      assert.deepEqual(
        handed[1]?.certificates.map(({ keyPem }) => keyPem),
        ['key of b'],
      );
      keeper.setActive(false);
      keeper.resources('type/a', { upserts: [], removed: ['y'] });
      keeper.setActive(true);
      await eventually(() => handed.length === 3);
      assert.deepEqual(names(handed[2]), ['z'], 'what changed meanwhile comes with the next');
    });

    it('is nothing, and no older state either, when it is too large', async () => {
      make(2_000);
      keeper.setActive(true);
      keeper.resources('type/a', { upserts: [resource('x', 1_000)], removed: [] });
      await eventually(() => handed.length === 1);
      keeper.resources('type/a', { upserts: [resource('y', 1_000)], removed: [] });
      await eventually(() => handed.length === 2);
      assert.equal(handed[1], undefined);
      assert.match(logged.join(), /too large/);
      keeper.resources('type/a', { upserts: [], removed: ['x'] });
      await eventually(() => handed.length === 3);
      assert.deepEqual(names(handed[2]), ['y']);
    });

    it('leaves no descriptor open, also when the agent is away', async () => {
      const before = openFds();
      const lost = new HeldStateKeeper({
        ...{ owner: OWNER, log },
        hand: (fd) => {
          if (fd !== undefined) closeSync(dup(fd));
          return Promise.reject(new Error('away'));
        },
      });
      lost.setActive(true);
      await eventually(() => logged.some((line) => line.includes('away')));
      lost.stop();
      assert.equal(openFds(), before);
    });
  });
});
