/** What stands in the site's sidebar, in order. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const DOCS = dirname(import.meta.dirname);

const page = (text, link) => ({ text, link });

function titleOf(file) {
  return /^# (.*)$/m.exec(readFileSync(join(DOCS, file), 'utf8'))?.[1] ?? file;
}

/** All decisions, by their numbers. */
function decisions() {
  return readdirSync(join(DOCS, 'decisions'))
    .filter((file) => file.endsWith('.md') && file !== 'index.md')
    .sort()
    .map((file) => page(titleOf(`decisions/${file}`), `/decisions/${file.slice(0, -'.md'.length)}`));
}

const named = [
  {
    text: 'First steps',
    items: [page('Start in five minutes', '/start'), page('Install in a cluster', '/tasks/install')],
  },
  {
    text: 'Concepts',
    items: [
      page('The mesh and its processes', '/concepts/'),
      page('How a pod joins', '/concepts/joining'),
      page('The way of a connection', '/concepts/connection'),
      page('The way of a request', '/concepts/request'),
    ],
  },
  {
    text: 'Tasks',
    items: [
      page('Look at a cluster', '/tasks/look'),
      page('The dashboard', '/tasks/dashboard'),
      page('Canary', '/tasks/canary'),
      page('Retries and timeouts', '/tasks/retries'),
      page('Fallback', '/tasks/fallback'),
      page('Deny by default', '/tasks/default-deny'),
      page('What a pod may call', '/tasks/egress'),
      page('Logs and traces: Telemetry', '/tasks/telemetry'),
      page('Your own authority, cert-manager', '/tasks/certificates'),
      page('Upgrade', '/tasks/upgrade'),
      page('Look before you leap', '/tasks/observe'),
      page('Out of the mesh at once', '/tasks/off'),
      page('Nodes that have just come', '/tasks/fresh-nodes'),
      page('Leave and remove', '/tasks/uninstall'),
      page('From Istio ambient', '/tasks/from-istio'),
      page('From Linkerd', '/tasks/from-linkerd'),
    ],
  },
  { text: 'Help', items: [page('When something is wrong', '/troubleshooting')] },
  {
    text: 'Reference',
    items: [
      page('Commands', '/reference/cli'),
      page('Kinds', '/reference/kinds'),
      page('Labels and annotations', '/reference/labels'),
      page('Values of an installation', '/reference/values'),
      page('Flags of the programs', '/reference/flags'),
      page('Ports', '/reference/ports'),
      page('TrafficPolicy', '/traffic-policy'),
      page('EgressPolicy and MeshSettings', '/egress-policy'),
      page('Policies at the waypoint', '/security-at-the-waypoint'),
      page('ServiceEntry', '/service-entry'),
      page('One form of a path', '/path-normalisation'),
      page('Response flags', '/response-flags'),
      page('Metrics', '/metrics'),
      page('Metrics of the controller', '/metrics-controller'),
      page('Monitoring with Prometheus', '/monitoring'),
      page('Access log and traces', '/telemetry'),
    ],
  },
  {
    text: 'Limits and safety',
    items: [
      page('Threat model', '/threat-model'),
      page('Capabilities', '/capabilities'),
      page('Kernels', '/kernels'),
      page('Limits of the waypoint', '/waypoint-limits'),
      page('Limits of ztunnel', '/ztunnel-limits'),
      page('Beside Istio ambient', '/beside-istio'),
      page('What users suffer from', '/user-pains'),
      page('Findings of the experiment', '/findings'),
    ],
  },
  { text: 'Decisions', collapsed: true, items: decisions() },
];

/** Pages that nobody has given a place yet: a new page is found all the same. */
function others() {
  const placed = new Set(named.flatMap(({ items }) => items.map(({ link }) => link)));
  return readdirSync(DOCS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md') && file !== 'index.md')
    .map((file) => `/${file.slice(0, -'.md'.length).replace(/\/index$/, '/')}`)
    .filter((link) => !placed.has(link))
    .sort()
    .map((link) => page(titleOf(`${link.slice(1)}.md`), link));
}

const rest = others();
export const sidebar = rest.length === 0 ? named : [...named, { text: 'More', items: rest }];
