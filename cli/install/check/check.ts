/** `loam check`: what keeps Loam from working in a cluster, before an installation and after. */
import { errorText } from '../../../lib/loam-error.ts';
import { checkDefinitions, checkNodes, checkOthers, checkRights, checkServer } from './cluster.ts';
import { checkConfiguration } from './configuration.ts';
import { checkControlPlane } from './control-plane.ts';
import { checkEnrolment } from './enrolment.ts';
import { fail, note, type Finding } from './finding.ts';
import { checkImages } from './images.ts';
import { checkControllers, checkNodePrograms, checkObjects, checkRoot } from './installation.ts';
import { checkSaidOfObjects } from './said-of-objects.ts';
import type { CheckSubject } from './subject.ts';

type Check = readonly [what: string, check: (subject: CheckSubject) => Promise<Finding | Finding[]>];

const ALWAYS: readonly Check[] = [
  ['rights', checkRights],
  ['kinds', checkDefinitions],
  ['nodes', checkNodes],
  ['other meshes', checkOthers],
];
const WHEN_INSTALLED: readonly Check[] = [
  ['objects', checkObjects],
  ['controllers', checkControllers],
  ['root certificate', checkRoot],
  ['programs on nodes', checkNodePrograms],
  ['images', checkImages],
  ['control plane', checkControlPlane],
  ['pods', checkEnrolment],
  ['configuration', checkConfiguration],
  ['labels and policies', checkSaidOfObjects],
];

/** Of an installation that was interrupted: why its controllers do not run. The programs on the nodes come after them. */
const WHEN_PARTIAL: readonly Check[] = [['controllers', checkControllers]];

async function hasPrograms({ api, namespace }: CheckSubject): Promise<boolean> {
  const path = `/apis/apps/v1/namespaces/${namespace}/deployments/loam-controller`;
  return (await api.find(path).catch(() => undefined)) !== undefined;
}

/**
 * @param tell is told each line as soon as it is known
 * @returns whether nothing failed
 */
export async function check(subject: CheckSubject, tell: (finding: Finding) => void): Promise<boolean> {
  let good = true;
  const told = (finding: Finding): void => {
    if (finding.state === 'fail') good = false;
    tell(finding);
  };
  const server = await checkServer(subject);
  told(server);
  // Nothing else can be asked of a server that does not answer.
  if (server.state === 'fail') return false;
  if (subject.unknown !== undefined)
    told(
      fail(
        'installation',
        `its record in ${subject.namespace} cannot be read: ${subject.unknown}`,
        'see that you may read it: kubectl auth can-i get configmaps; a record that was damaged: loam upgrade --reset-values',
      ),
    );
  const isPartial = subject.installed === undefined && (await hasPrograms(subject));
  if (isPartial)
    told(
      fail(
        'installation',
        `one in ${subject.namespace} was interrupted: programs are there, and no record of all of it`,
        'see below what keeps them from starting; then loam install does it again, from where it was',
      ),
    );
  else if (subject.installed === undefined && subject.unknown === undefined)
    told(note('installation', `there is none in ${subject.namespace}`));
  const more = subject.installed !== undefined ? WHEN_INSTALLED : isPartial ? WHEN_PARTIAL : [];
  for (const [what, one] of [...ALWAYS, ...more])
    try {
      for (const finding of [await one(subject)].flat()) told(finding);
    } catch (error) {
      told(
        fail(
          what,
          `could not be looked at: ${errorText(error)}`,
          'see that you may read it: kubectl auth can-i --list',
        ),
      );
    }
  return good;
}

const MARKS = { pass: '✔', fail: '✗', note: '·' } as const;

/** One line, and the mend below it. */
export function findingText({ state, what, text, mend }: Finding): string {
  return `${MARKS[state]} ${what}: ${text}${mend === undefined ? '' : `\n    → ${mend}`}`;
}
