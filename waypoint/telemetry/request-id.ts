import { randomUUID } from 'node:crypto';
import { header, type Headers } from '../../lib/mesh/waypoint/request.ts';

const NAME = 'x-request-id';
// A token that is safe in every log, header and URL; Envoy's own are UUIDs of 36 characters.
const SANE = /^[A-Za-z0-9._~+/=:-]{1,128}$/;

/**
 * The request's id: the client's where it is a plain token of at most 128 characters, else a new UUID. Sets the header, so
 * that the application and everything behind it log the same id.
 */
export function ensureRequestId(headers: Headers): string {
  const given = header(headers, NAME);
  if (given !== undefined && SANE.test(given)) return given;
  const id = randomUUID();
  headers[NAME] = id;
  return id;
}
