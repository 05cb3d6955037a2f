import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { packageRoot, siblingModule } from '../../../lib/package-root.ts';
import { LogOutput } from '../../../lib/log-output.ts';
import { eventually } from '../ztunnel/support/streams.ts';

const LINE = `${'x'.repeat(1023)}\n`;
/** More than may wait. */
const TOO_MANY = 10_000;

describe('lib/log-output', () => {
  let folder: string;
  const open: number[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'loam-log-'));
  });

  afterEach(() => {
    for (const fd of open.splice(0)) closeSync(fd);
    rmSync(folder, { recursive: true });
  });

  const opened = (path: string, flags: number): number => {
    const fd = openSync(path, flags);
    open.push(fd);
    return fd;
  };

  it('writes every line to a file, in order, the last ones at exit', () => {
    const file = join(folder, 'log');
    const output = new LogOutput(opened(file, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND));
    for (let i = 0; i < 1000; i++) output.write(`${i}\n`);
    output.flushSync();
    return eventually(() => {
      const lines = readFileSync(file, 'utf8').trim().split('\n').map(Number);
      return lines.length === 1000 && lines.sort((a, b) => a - b).every((n, i) => n === i);
    });
  });

  it('writes the last words of a process that was too busy to see its first ones written', async () => {
    const file = join(folder, 'log');
    const output = new LogOutput(opened(file, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND));
    output.write('first\n');
    // As long as a start that ends in a refusal: nothing of the event loop runs meanwhile.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    output.write('last\n');
    output.flushSync();
    assert.ok(readFileSync(file, 'utf8').includes('last\n'));
    await eventually(() => readFileSync(file, 'utf8').includes('first\n'));
  });

  it('neither waits for a reader that stalls nor keeps all for it, and tells it afterwards', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const reader = opened(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    const output = new LogOutput(opened(pipe, constants.O_WRONLY));
    for (let i = 0; i < TOO_MANY; i++) output.write(LINE);
    output.flushSync();
    const buffer = Buffer.alloc(1 << 20);
    let text = '';
    await eventually(() => {
      output.write('again\n');
      try {
        text += buffer.toString('latin1', 0, readSync(reader, buffer));
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
      }
      return /"lost":\d+,"msg":"log lines were lost"/.test(text);
    });
    output.close();
  });

  it('writes the last words of a program, through a socket too', () => {
    const program = `
      const { makeLogger } = await import(${JSON.stringify(siblingModule(import.meta.url, '../../../lib/logger').href)});
      const log = makeLogger('info', { program: 'test' });
      log.info('first');
      log.fatal('last');
      process.exit(1);`;
    // Node gives a child's standard output a socket, which cannot be opened anew without blocking.
    const child = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      cwd: packageRoot(),
      encoding: 'utf8',
    });
    // A write that was under way when the program ended may come after those of its end.
    assert.match(child.stdout, /"first"/);
    assert.match(child.stdout, /"last"/);
  });

  it('lives on with a full disk, and ends with it', async () => {
    const program = `
      const { makeLogger } = await import(${JSON.stringify(siblingModule(import.meta.url, '../../../lib/logger').href)});
      const log = makeLogger('info', { program: 'test' });
      log.info('lost');
      setTimeout(() => { log.info('lost, too'); process.exit(7); }, 100);`;
    const full = opened('/dev/full', constants.O_WRONLY);
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      cwd: packageRoot(),
      stdio: ['ignore', full, 'inherit'],
    });
    const [code] = (await once(child, 'exit')) as [number];
    assert.equal(code, 7);
  });
});
