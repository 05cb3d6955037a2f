import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ControllerError } from './errors.ts';
import { createAtomically } from './state-dir.ts';

const FILE = 'session-secret';
const BYTES = 32;

/**
 * The secret from which the session keys of waypoints are derived; made at first use and kept, so that sessions outlive
 * a restart of the controller.
 *
 * @throws ControllerError STATE when the file cannot be used
 */
export async function loadSessionSecret(stateDir: string): Promise<Uint8Array> {
  const path = join(stateDir, FILE);
  try {
    await createAtomically(path, randomBytes(BYTES).toString('hex'));
    const secret = Buffer.from((await readFile(path, 'utf8')).trim(), 'hex');
    if (secret.length !== BYTES) throw new Error(`it does not hold ${BYTES} bytes in hexadecimal digits`);
    return secret;
  } catch (cause) {
    throw new ControllerError('STATE', `the session secret ${path} cannot be used`, { cause });
  }
}
