import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Metadata } from '@grpc/grpc-js';
import { describe, it } from 'mocha';
import { parseTokens, TokenTable } from '../../../../controller/auth/tokens.ts';
import { replaceFile, SILENT, temporaryDir, until } from '../harness.ts';

const TOKEN = 'secret-secret-secret';

function metadata(header: string | undefined): Metadata {
  const all = new Metadata();
  if (header !== undefined) all.set('authorization', header);
  return all;
}

function file(...tokens: { node: string; token: string }[]): string {
  return JSON.stringify({ tokens });
}

async function nodeOf(table: TokenTable, header: string | undefined): Promise<string | undefined> {
  const principal = await table.authenticate(metadata(header));
  return principal?.kind === 'node' ? principal.node : undefined;
}

describe('auth/tokens', () => {
  it('knows the node of a token, follows the file, and keeps what it knew when the file breaks', async () => {
    await using dir = await temporaryDir();
    const path = join(dir.path, 'tokens.json');
    const table = new TokenTable(path, SILENT);
    await table.start();
    try {
      assert.equal(table.gate().ready, false);
      assert.equal(await nodeOf(table, `Bearer ${TOKEN}`), undefined);
      await replaceFile(path, file({ node: 'node-a', token: TOKEN }));
      await until(async () => (await nodeOf(table, `Bearer ${TOKEN}`)) === 'node-a');
      for (const header of [
        undefined,
        '',
        TOKEN,
        'Bearer',
        'Bearer ',
        `Bearer ${TOKEN} `,
        `Basic ${TOKEN}`,
        `Bearer ${'x'.repeat(1e6)}`,
      ]) {
        assert.equal(await nodeOf(table, header), undefined, header?.slice(0, 30) ?? 'no header');
      }
      await replaceFile(path, 'broken');
      await replaceFile(path, file({ node: 'node-b', token: `${TOKEN}2` }));
      await until(async () => (await nodeOf(table, `Bearer ${TOKEN}2`)) === 'node-b');
      assert.equal(await nodeOf(table, `Bearer ${TOKEN}`), undefined);
    } finally {
      table.close();
    }
  });

  it('knows the Gateway of a token', async () => {
    await using dir = await temporaryDir();
    const path = join(dir.path, 'tokens.json');
    const table = new TokenTable(path, SILENT);
    await table.start();
    try {
      const tokens = [
        { node: 'node-a', token: TOKEN },
        { gateway: 'shop/waypoint', token: `${TOKEN}2` },
      ];
      await replaceFile(path, JSON.stringify({ tokens }));
      const who = (token: string) => table.authenticate(metadata(`Bearer ${token}`));
      await until(async () => table.gate().ready && (await who(`${TOKEN}2`)) !== undefined);
      assert.deepEqual(await who(TOKEN), { kind: 'node', node: 'node-a' });
      assert.deepEqual(await who(`${TOKEN}2`), { kind: 'gateway', gateway: 'shop/waypoint' });
    } finally {
      table.close();
    }
  });

  it('refuses ambiguous and weak tokens without quoting them', () => {
    const bad = [
      file({ node: 'a', token: TOKEN }, { node: 'b', token: TOKEN }),
      file({ node: 'a', token: 'short' }),
      file({ node: 'A b', token: TOKEN }),
      JSON.stringify({ tokens: [{ token: TOKEN }] }),
      JSON.stringify({ tokens: [{ token: TOKEN, node: 'a', gateway: 'shop/waypoint' }] }),
      JSON.stringify({ tokens: [{ token: TOKEN, gateway: 'waypoint' }] }),
      JSON.stringify({ tokens: [{ token: TOKEN, gateway: 'shop/../waypoint' }] }),
      `{"tokens": [{"node": "a", "token": "${TOKEN}"`,
      '[]',
    ];
    for (const content of bad) {
      assert.throws(
        () => parseTokens(content),
        (error: Error) => !error.message.includes(TOKEN) && !error.message.includes('short'),
      );
    }
  });
});
