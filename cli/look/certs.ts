import type { MeshInventory, MeshReader } from '../mesh/reader.ts';
import { programName } from '../mesh/reader.ts';
import type { Certificate } from '../mesh/stores.ts';
import type { Colours } from '../output/colours.ts';
import { tableLines } from '../output/table.ts';
import { identityText, spanText } from '../output/words.ts';
import { askAll, dataPlane } from './ask-all.ts';

export interface HeldCertificate {
  readonly holder: string;
  readonly identity: string;
  readonly state: Certificate['state'];
  /** Pods of it. */
  readonly users?: number;
  readonly serialNumber?: string;
  readonly notBefore?: string;
  readonly notAfter?: string;
  readonly lastError?: string;
  /** What somebody should look at; absent: all is well. */
  readonly problem?: string;
}

export interface Certificates {
  readonly certificates: readonly HeldCertificate[];
  readonly problems: readonly string[];
}

/**
 * The certificates that nodes and waypoints hold, never a key.
 *
 * @param withinMs that a certificate ends so soon is a problem; it is renewed at half of its life
 */
export async function heldCertificates(
  reader: MeshReader,
  inventory: MeshInventory,
  withinMs: number,
  now: number,
): Promise<Certificates> {
  const { answers, problems } = await askAll<{ certificates?: readonly Certificate[] }>(
    reader,
    dataPlane(inventory),
    '/config_dump',
  );
  const certificates = answers.flatMap(({ program, answer }) =>
    (answer.certificates ?? []).map(
      ({ identity, state, users, serialNumber, notBefore, notAfter, lastError }): HeldCertificate => {
        const problem = problemOf({ identity, state, ...(notAfter && { notAfter }) }, withinMs, now);
        return {
          ...{ holder: programName(program), identity, state },
          ...(users !== undefined && { users }),
          ...(serialNumber !== undefined && { serialNumber }),
          ...(notBefore !== undefined && { notBefore }),
          ...(notAfter !== undefined && { notAfter }),
          ...(lastError !== undefined && { lastError }),
          ...(problem !== undefined && { problem }),
        };
      },
    ),
  );
  return { certificates, problems };
}

function problemOf(
  { state, notAfter }: Pick<Certificate, 'identity' | 'state' | 'notAfter'>,
  withinMs: number,
  now: number,
): string | undefined {
  if (state !== 'valid') return state === 'pending' ? 'not there yet' : 'cannot be had';
  const left = Date.parse(notAfter ?? '') - now;
  if (left <= 0) return 'expired';
  return left < withinMs ? `ends in ${spanText(left)}` : undefined;
}

export function certificateLines(
  { certificates, problems }: Certificates,
  colours: Colours,
  now: number,
): string[] {
  const rows = certificates.map(
    ({ holder, identity, state, notAfter, users, serialNumber, problem, lastError }) => [
      holder,
      identityText(identity),
      problem === undefined ? colours.good(state) : colours.bad(problem),
      notAfter === undefined ? '' : spanText(Date.parse(notAfter) - now),
      users === undefined ? '' : String(users),
      serialNumber?.slice(0, 16) ?? '',
      lastError ?? '',
    ],
  );
  const head = ['HELD BY', 'IDENTITY', 'STATE', 'LEFT', 'PODS', 'SERIAL', 'LAST ERROR'];
  return [
    ...(rows.length === 0
      ? ['Nobody holds a certificate.']
      : tableLines([head.map((name) => colours.dim(name)), ...rows], [3, 4])),
    ...problems.map((problem) => colours.bad(`! ${problem}`)),
  ];
}
