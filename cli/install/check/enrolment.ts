/** What the agents say of their kernels and of the pods that should be in the mesh. */
import { errorText } from '../../../lib/loam-error.ts';
import { AGENT_STATUS } from '../render/agent.ts';
import { commandOf } from '../render/programs.ts';
import { reasonOf } from '../cluster/pod-reasons.ts';
import { eachOf } from '../each-of.ts';
import { EARLIER_MEND, earlierText, type Earlier } from '../../mesh/earlier.ts';
import { fail, note, pass, type Finding } from './finding.ts';
import { podsOf } from './installation.ts';
import type { CheckSubject } from './subject.ts';

/** As far as it is read here; another version's agent may say less. */
interface AgentStatus {
  readonly node?: string;
  readonly off?: string;
  readonly problems?: readonly string[];
  readonly pods?: readonly {
    readonly pod: string;
    readonly state: string;
    readonly problem?: string;
    readonly off?: string;
    readonly zds?: { readonly state: string; readonly message?: string };
    readonly earlier?: Earlier;
  }[];
  readonly kubernetes?: {
    readonly nri?: { readonly state: string; readonly problem?: string };
    readonly cni?: { readonly state: string; readonly problem?: string };
    readonly kubeletProblem?: string;
  };
  readonly source?: {
    readonly problems?: readonly { readonly message: string }[];
    readonly leftAlone?: readonly { readonly pod: string; readonly why: string }[];
  };
}

const MAX_PODS = 20;

export async function checkEnrolment(subject: CheckSubject): Promise<Finding[]> {
  const agents = (await podsOf(subject, 'agent')).filter((pod) => reasonOf(pod) === undefined);
  const findings: Finding[] = [];
  let enrolled = 0;
  let asked = 0;
  const command = [...commandOf('agent/ready-probe'), AGENT_STATUS, '/status'];
  const answers = await eachOf(agents, async ({ metadata }) => {
    try {
      const said = await subject.pods.run(subject.namespace, metadata?.name ?? '', 'agent', command);
      return JSON.parse(said) as AgentStatus;
    } catch (error) {
      return errorText(error);
    }
  });
  for (const [at, agent] of agents.entries()) {
    const node = agent.spec?.nodeName ?? '';
    const name = agent.metadata?.name ?? '';
    const status = answers[at];
    if (status === undefined || typeof status === 'string') {
      findings.push(
        fail(
          `agent on ${node}`,
          `cannot be asked: ${status ?? ''}`,
          'you need the right to create pods/exec in its namespace',
        ),
      );
      continue;
    }
    asked += 1;
    for (const problem of [
      ...(status.problems ?? []),
      ...(status.source?.problems ?? []).map(({ message }) => message),
    ])
      findings.push(
        fail(`agent on ${node}`, problem, `kubectl logs --namespace ${subject.namespace} ${name}`),
      );
    const { nri, cni, kubeletProblem } = status.kubernetes ?? {};
    if (cni?.problem !== undefined)
      findings.push(
        fail(
          `node ${node}`,
          `the network plugin that holds new pods is not installed: ${cni.problem}`,
          'see the values cni.confFolder and cni.binFolder: they have to be where the runtime looks',
        ),
      );
    else if (nri !== undefined && nri.state !== 'connected' && cni?.state !== 'installed')
      findings.push(
        fail(
          `node ${node}`,
          `a new pod may speak before it is in the mesh, since the container runtime does not tell of it by NRI: ${nri.problem ?? nri.state}`,
          'switch NRI on in the runtime (containerd from 2.0 and CRI-O have it), or the network plugin: loam upgrade --set cni.mode=auto',
        ),
      );
    if (kubeletProblem !== undefined)
      findings.push(
        fail(
          `node ${node}`,
          `the kubelet's probes do not pass: ${kubeletProblem}`,
          `kubectl logs --namespace ${subject.namespace} ${name}`,
        ),
      );
    if (status.off !== undefined)
      findings.push(
        fail(`node ${node}`, `was switched off on ${status.off}: its pods have plain networking`, 'loam on'),
      );
    for (const pod of status.pods ?? []) {
      if (pod.off !== undefined)
        findings.push(fail(`pod ${pod.pod}`, `was switched off on ${pod.off}`, 'loam on'));
      if (pod.zds?.state === 'refused')
        findings.push(
          fail(
            `pod ${pod.pod} on ${node}`,
            `its connections are refused, since ztunnel cannot serve it: ${pod.zds.message ?? 'it does not say why'}`,
            `kubectl logs --namespace ${subject.namespace} ${name}; ztunnel is asked again every few seconds`,
          ),
        );
      if (pod.state === 'verified') enrolled += 1;
      // On its way out, as its label says.
      else if (pod.state !== 'leaving')
        findings.push(
          fail(
            `pod ${pod.pod} on ${node}`,
            `should be in the mesh and is ${pod.state}${pod.problem === undefined ? '' : `: ${pod.problem}`}`,
            `kubectl describe pod, and kubectl logs --namespace ${subject.namespace} ${name}`,
          ),
        );
    }
    findings.push(...earlierConnections(node, status));
    for (const { pod, why } of status.source?.leftAlone ?? [])
      findings.push(note(`pod ${pod} on ${node}`, `is left alone: ${why}`));
  }
  if (asked > 0)
    findings.unshift(
      pass(
        'pods',
        `${enrolled} in the mesh, as ${asked === 1 ? 'the kernel of 1 node shows' : `the kernels of ${asked} nodes show`}`,
      ),
    );
  return shortened(findings);
}

/** Connections from before their pods came into the mesh, which policy does not reach. */
function earlierConnections(node: string, { pods = [] }: AgentStatus): Finding[] {
  const findings: Finding[] = [];
  let all = 0;
  for (const { pod, earlier } of pods) {
    if (earlier === undefined || earlier.count === 0) continue;
    all += earlier.count;
    findings.push(note(`pod ${pod} on ${node}`, earlierText(earlier)));
  }
  if (findings.length > 1)
    findings.unshift(
      note(`node ${node}`, `${all} connections from before go on in plaintext, of ${findings.length} pods`),
    );
  if (findings.length > 0) findings.push(note(`node ${node}`, EARLIER_MEND));
  return findings;
}

function shortened(findings: Finding[]): Finding[] {
  if (findings.length <= MAX_PODS) return findings;
  // What is wrong is never what is left out.
  findings.sort((a, b) => Number(a.state !== 'fail') - Number(b.state !== 'fail'));
  return [...findings.slice(0, MAX_PODS), note('pods', `and ${findings.length - MAX_PODS} lines more`)];
}
