import { randomBytes } from 'node:crypto';
import type { KubeClient } from '../../../lib/kubernetes/client.ts';
import { ControllerError } from '../../errors.ts';
import { ensureSecret } from './secret.ts';

export const SESSION_SECRET = 'loam-session';
const FIELD = 'secret';
const BYTES = 32;

/**
 * The secret from which the session keys of waypoints are derived, made at first use, the same for all replicas.
 *
 * @throws ControllerError STATE that names Secret and field; KubeApiError
 */
export async function loadSessionSecret(
  client: Pick<KubeClient, 'get' | 'create'>,
  namespace: string,
): Promise<Uint8Array> {
  const place = { client, namespace, name: SESSION_SECRET };
  const { values } = await ensureSecret(place, () =>
    Promise.resolve({ [FIELD]: randomBytes(BYTES).toString('hex') }),
  );
  const secret = Buffer.from((values[FIELD] ?? '').trim(), 'hex');
  if (secret.length !== BYTES)
    throw new ControllerError(
      'STATE',
      `Secret ${namespace}/${SESSION_SECRET}: field ${FIELD} cannot be used; allowed: ${BYTES} bytes in hexadecimal digits`,
    );
  return secret;
}
