import { podManifest } from '../manifests.ts';
import { SharedMesh } from '../shared-mesh.ts';
import { WAY_BASE, wayServer, wayService } from '../waypoint-manifests.ts';

/** Ports of the Service `web`, by what is said of their protocol. */
export const WEB_PORTS = {
  /** Nothing said: found out by the first bytes. */
  http: 80,
  declared: 81,
  h2: 82,
  grpc: 83,
  h2Found: 84,
  tls: 443,
  banner: 7000,
  halfClose: 7001,
  bannerDeclared: 7002,
} as const;

/** Ports of the Services of one family each. */
const SIMPLE = { 80: [8080, 'http'], 7000: 7000, 7001: [7001, 'tcp'] } as const;
const DUAL = { ipFamilyPolicy: 'RequireDualStack' } as const;

/** One waypoint, with what the tests of its ways need: who goes round it, what it carries, and in which family. */
export const throughMesh = new SharedMesh({
  ...WAY_BASE,
  'outsider.yaml': podManifest('outsider', { labels: { 'loam.dev/dataplane-mode': 'none' } }),
  'v1.yaml': wayServer('v1', { run: 'web' }),
  'web.yaml': wayService('web', {
    waypoint: 'way',
    selector: { run: 'web' },
    ports: {
      [WEB_PORTS.http]: 8080,
      [WEB_PORTS.declared]: [8080, 'http'],
      [WEB_PORTS.h2]: [8081, 'kubernetes.io/h2c'],
      [WEB_PORTS.h2Found]: 8081,
      [WEB_PORTS.grpc]: [9090, 'grpc'],
      [WEB_PORTS.banner]: 7000,
      [WEB_PORTS.bannerDeclared]: [7000, 'tcp'],
      [WEB_PORTS.halfClose]: [7001, 'tcp'],
      [WEB_PORTS.tls]: 8443,
    },
  }),
  // around
  'near.yaml': wayServer('near', { run: 'held' }, 'node-a'),
  'far.yaml': wayServer('far', { run: 'held' }),
  'lost.yaml': wayServer('lost', { run: 'lost' }),
  'held.yaml': wayService('held', {
    waypoint: 'way',
    selector: { run: 'held' },
    ports: { 80: [8080, 'http'] },
  }),
  'lost-service.yaml': wayService('lost', {
    waypoint: 'nowhere',
    selector: { run: 'lost' },
    ports: { 80: [8080, 'http'] },
  }),
  // families
  'four.yaml': podManifest('four', { families: 'IPv4' }),
  'six.yaml': podManifest('six', { families: 'IPv6' }),
  'on-four.yaml': wayServer('on-four', {}, 'node-b', 'IPv4'),
  'on-six.yaml': wayServer('on-six', {}, 'node-b', 'IPv6'),
  'on-both.yaml': wayServer('on-both'),
  'family-services.yaml': ['on-four', 'on-six', 'on-both']
    .map((app) => wayService(app, { waypoint: 'way', selector: { app }, ports: SIMPLE, spec: DUAL }))
    .join('---\n'),
});
