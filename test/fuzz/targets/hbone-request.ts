import assert from 'node:assert/strict';
import net from 'node:net';
import {
  baggageHeader,
  newTraceparent,
  parseAuthority,
  parseForwardedFor,
  trueClient,
} from '../../../lib/mesh/hbone/hbone-headers.ts';
import { forwardedHeader, parseForwardedClient } from '../../../lib/mesh/hbone/forwarded.ts';
import { spiffeUri } from '../../../lib/spiffe.ts';
import type { FuzzTarget } from '../engine/target.ts';

const PEER = { ip: '198.18.0.7', port: 40_000 };

/** Addresses that no client elsewhere can have, in their one written form. */
const LOCAL = /^(?:0|127|22[4-9]|2[3-5]\d)\.|^169\.254\.|^::1?$|^fe[89ab][0-9a-f]:|^ff[0-9a-f]{2}:/;

/** Headers of a CONNECT: `:authority` in the first line, `forwarded` in the second. */
export const target: FuzzTarget = {
  name: 'hbone-request',
  seeds: [
    '198.18.0.1:80\nfor="198.18.0.7:41000";host=web.shop.svc.cluster.local',
    '198.18.0.1:80\nfor="198.18.0.7:41000";identity="spiffe://cluster.local/ns/default/sa/client"',
    '[fd00::1]:80\nfor="[fd00::7]:41000"',
    '198.18.0.1:65535\nFor=198.18.0.7:1;proto=http, for="198.18.0.8:2"',
    '::ffff:198.18.0.1:80\nfor="a\\"b"',
    `${newTraceparent()}\n${baggageHeader({ clusterId: 'c', namespace: 'n', workloadType: '', workloadName: 'w', canonicalName: 'x', canonicalRevision: '1' })}`,
  ],
  words: [
    'for=',
    'for="',
    'identity="',
    'spiffe://',
    '/ns/',
    '/sa/',
    '0.0.0.0',
    '127.0.0.1',
    ':0',
    '[::1]',
    '\\"',
    ';',
    ', ',
  ],
  run(input) {
    const [authority = '', forwarded = ''] = input.toString('latin1').split('\n');
    const target = parseAuthority(authority);
    if (target !== undefined) assertAddress(target);
    const claimed = parseForwardedFor(forwarded);
    if (claimed !== undefined) assertAddress(claimed);
    // Whatever the header says, the address is the one that TCP proved.
    assert.equal(trueClient(PEER, forwarded).ip, PEER.ip);
    const told = parseForwardedClient(forwarded);
    if (told === undefined) return;
    assertAddress(told.client);
    assert.ok(!LOCAL.test(told.client.ip), told.client.ip);
    // What is understood can be written again, and means the same then.
    const again = forwardedHeader(told.client, undefined, told.identity);
    assert.deepEqual(parseForwardedClient(again), told);
    if (told.identity !== undefined)
      assert.match(spiffeUri(told.identity), /^spiffe:\/\/[a-z0-9._-]+\/ns\/[\w.-]+\/sa\/[\w.-]+$/);
  },
};

function assertAddress({ ip, port }: { ip: string; port: number }): void {
  assert.notEqual(net.isIP(ip), 0, ip);
  assert.ok(Number.isInteger(port) && port > 0 && port < 65_536, String(port));
}
