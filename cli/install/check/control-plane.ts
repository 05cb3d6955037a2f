/**
 * What programs that are ready say of themselves all the same: ztunnels that have lost the controllers go on with what they know, and
 * controllers go on with the former certificate authority when the new one cannot be used.
 */
import { errorText } from '../../../lib/loam-error.ts';
import { collectionPath } from '../cluster/kinds.ts';
import { eachOf } from '../each-of.ts';
import { reasonOf } from '../cluster/pod-reasons.ts';
import { nameOf } from '../render/manifest.ts';
import { askReadiness, READY_PORT } from '../render/programs.ts';
import { fail, pass, type Finding } from './finding.ts';
import { podsOf } from './installation.ts';
import type { CheckSubject } from './subject.ts';

interface Gate {
  readonly name: string;
  readonly ready: boolean;
  readonly reason: string;
}

/** How a ztunnel says that no controller answers it (ztunnel/gates.ts). */
const OFFLINE = /^(?:last state|an earlier ztunnel's state) in force; (.*)$/s;

export async function checkControlPlane(subject: CheckSubject): Promise<Finding[]> {
  const { namespace } = subject;
  const findings: Finding[] = [];
  let followed = 0;
  for (const program of ['controller', 'ztunnel'] as const) {
    const pods = (await podsOf(subject, program)).filter((pod) => reasonOf(pod) === undefined);
    const answers = await eachOf(pods, async ({ metadata }) => {
      try {
        return await gatesOf(subject, metadata?.name ?? '', program);
      } catch (error) {
        return errorText(error);
      }
    });
    for (const [at, { metadata, spec }] of pods.entries()) {
      const what = `${program} ${metadata?.name ?? ''} on ${spec?.nodeName ?? ''}`;
      const gates = answers[at];
      if (gates === undefined || typeof gates === 'string') {
        findings.push(
          fail(
            what,
            `cannot be asked: ${gates ?? ''}`,
            `you need the right to get pods/proxy or to create pods/exec in ${namespace}`,
          ),
        );
        continue;
      }
      if (program === 'controller') findings.push(...controllerFindings(what, gates, namespace));
      else {
        const lost = gates.map(({ reason }) => OFFLINE.exec(reason)?.[1]).find((why) => why !== undefined);
        if (lost === undefined) followed += 1;
        else
          findings.push(
            fail(
              what,
              `reaches no controller and goes on with what it knows: ${lost}`,
              `see Service ${nameOf('controller')}, its endpoints, and NetworkPolicies between the two: kubectl describe service --namespace ${namespace} ${nameOf('controller')}`,
            ),
          );
      }
    }
  }
  if (followed > 0) findings.unshift(pass('control plane', `${followed} ztunnels follow it`));
  return findings;
}

/** What a program says of itself, by way of the API server, or where that does not reach pods, of a command in its container. */
async function gatesOf(
  { api, pods, namespace }: CheckSubject,
  name: string,
  program: string,
): Promise<Gate[]> {
  const path = `${collectionPath('v1/Pod', namespace)}/${name}:${READY_PORT}/proxy/healthz/ready`;
  const direct = await api.answer(path).then(
    ({ text }) => gatesIn(text),
    () => undefined,
  );
  if (direct !== undefined) return direct;
  const said = await pods.run(namespace, name, program, askReadiness());
  const gates = gatesIn(said);
  if (gates === undefined) throw new Error(`it says ${said.slice(0, 100)}`);
  return gates;
}

function gatesIn(text: string): Gate[] | undefined {
  try {
    return (JSON.parse(text) as { gates?: Gate[] }).gates;
  } catch {
    return undefined;
  }
}

/** The reason of a gate of the controller's is empty when there is nothing to say. */
function controllerFindings(what: string, gates: readonly Gate[], namespace: string): Finding[] {
  return gates
    .filter(({ reason }) => reason !== '')
    .map(({ name, reason }) =>
      fail(
        what,
        `${name}: ${reason}`,
        name === 'authority'
          ? `put a certificate with its own key into Secret loam-ca of ${namespace}; until then the former authority signs`
          : `kubectl logs --namespace ${namespace} deployment/${nameOf('controller')}`,
      ),
    );
}
