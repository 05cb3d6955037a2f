/** What each flag of the programs on the nodes is for. The types hold that none is missing; the controller's words are in its code. */
import type { FLAGS as AGENT } from '../../agent/config.ts';
import type { FLAGS as WAYPOINT } from '../../waypoint/config.ts';
import type { FLAGS as ZTUNNEL } from '../../ztunnel/config.ts';

const CONNECTED = {
  'cluster-id': 'first part of the uids of workloads',
  network: 'name of the network that the node is in; empty for the only one',
  'trust-domain': 'SPIFFE trust domain of the mesh',
  'xds-address': 'the controller, for configuration',
  'ca-address': 'the controller, for certificates',
  'xds-root':
    'file with the roots that the controller’s certificate is checked against, for configuration; read again when it changes',
  'ca-root': 'the same for certificates, and the roots of peers until the first certificate comes with them',
  token: 'file with the token that proves to the controller who asks; read again for each call',
  admin: 'where the admin interface listens',
  metrics: 'where `/metrics` is served',
  ready: 'where `/healthz/ready` is served',
  'log-level': 'least level of what is logged',
  'drain-deadline-ms': 'how long what is open may go on when the program is told to end',
  'cert-ttl-s': 'life of the certificates that are asked for, in seconds, at least 10',
  'worker-heap-mb': 'bound of the heap of a worker thread, at least 64',
  'memory-limit-mb':
    'what the process may use before new connections are refused; 0: what the machine has. A cgroup’s limit holds as well',
  diagnostics: 'whether admin may be asked for what costs connections time',
} as const;

export const ztunnelWords: Record<keyof typeof ZTUNNEL, string> = {
  ...CONNECTED,
  node: 'name of the node',
  zds: 'the agent’s unix socket, from which pods and listeners come',
  'agent-status':
    'the agent’s unix socket for status: its metrics are shown at `/agent/metrics` of the port of metrics, its status below `/agent` of admin',
  'root-namespace': 'policies of this namespace cover the whole mesh',
  'static-state': 'file with workloads, services and policies, in place of the controller; for tests',
  'static-certs': 'folder with certificates, in place of the controller; for tests',
  'egress-rules':
    'whether to ask for EgressPolicies: a control plane that is not Loam’s does not answer for them',
  'xds-on-demand': 'whether to ask for what the node’s pods need of the mesh, and not to follow all of it',
  'termination-grace-s':
    'grace period of the pod, of which `drain-deadline-ms` is reckoned where it is not given',
  'held-state-max-age-s': 'state that the agent held for the former ztunnel is refused when it is older',
  'max-connections-per-pod': 'connections of one pod at a time',
  'max-tunnels-per-pod': 'HBONE connections of one pod at a time',
};

export const waypointWords: Record<keyof typeof WAYPOINT, string> = {
  ...CONNECTED,
  gateway: 'the Gateway that this process is an instance of',
  node: 'name of the node, for the log and locality',
  listen: 'where HBONE comes in',
  workers: 'threads that read requests; bounds of a TrafficPolicy count for each',
  'max-tunnels': 'HBONE connections of one worker',
  'max-connections': 'client connections (streams) of one worker',
};

export const agentWords: Record<keyof typeof AGENT, string> = {
  instance: 'names the programs, maps and pins of this agent, beside other agents of the machine',
  node: 'name of the node',
  pods: 'file with the node’s pods, watched; without it they come from the Kubernetes API',
  'kubernetes-api': 'the API server; without it, as a pod is told by its environment',
  'kubernetes-account': 'folder with the token and the root of the program’s service account',
  kubelet: 'file name of the program that is the node’s kubelet, whose probes pass (`k3s` in k3s)',
  nri: 'the container runtime’s NRI socket, by which new pods are held until they are in the mesh',
  cni: 'when the network plugin holds new pods: `auto` is while there is no agent, and where the runtime has no NRI',
  'cni-conf': 'folder of the host’s network configurations; with `cni-bin`, or neither',
  'cni-bin': 'folder of the host’s network plugins',
  'cni-exempt': 'namespaces whose pods pass while there is no agent',
  zds: 'unix socket for the node’s ztunnel',
  status: 'unix socket for status, by HTTP',
  cgroup: 'cgroup v2 folder to attach at; without it the topmost that is visible',
  bpffs: 'where the BPF file system is mounted',
  guard: 'how guards are attached; without it, as the kernel can',
  'enrol-grace': 'how long connections from before a pod’s enrolment may go on, where no annotation says so',
  'cleanup-step':
    'how far `--cleanup` goes: asked of all nodes, one step after the other, by `loam uninstall`',
  'log-level': 'least level of what is logged',
};
