/** What stands in the site's sidebar, in order. test/unit/docs/pages.test.ts holds that no page is left out. */
import { readdirSync, readFileSync } from 'node:fs';

const DOCS = new URL('../', import.meta.url);

const page = (text, link) => ({ text, link });

/** All decisions, by their numbers. */
function decisions() {
  return readdirSync(new URL('decisions/', DOCS))
    .filter((file) => file.endsWith('.md') && file !== 'index.md')
    .sort()
    .map((file) => {
      const title = /^# (.*)$/m.exec(readFileSync(new URL(`decisions/${file}`, DOCS), 'utf8'))?.[1] ?? file;
      return page(title, `/decisions/${file.slice(0, -'.md'.length)}`);
    });
}

export const sidebar = [
  {
    text: 'First steps',
    items: [
      page('Start in five minutes', '/start'),
      page('Install in a cluster', '/tasks/install'),
      page('The mesh and its processes', '/concepts/'),
      page('The way of a connection', '/concepts/connection'),
    ],
  },
  {
    text: 'Reference',
    items: [
      page('TrafficPolicy', '/traffic-policy'),
      page('EgressPolicy and MeshSettings', '/egress-policy'),
      page('Policies at the waypoint', '/security-at-the-waypoint'),
      page('ServiceEntry', '/service-entry'),
      page('One form of a path', '/path-normalisation'),
      page('Response flags', '/response-flags'),
      page('Metrics', '/metrics'),
      page('Metrics of the controller', '/metrics-controller'),
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
