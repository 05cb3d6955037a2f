import { type Gateway, type GatewayClass, type ReferenceGrant } from '../model/objects.ts';
import { WAYPOINT_CLASS, WAYPOINT_CONTROLLER } from '../model/gateway-api.ts';
import { settingProblems } from '../compile/waypoints/settings.ts';
import { FORMATS } from '../schema/formats.ts';
import type { FieldProblem } from '../schema/validate.ts';
import { duplicates, notAllowed, type Path, problem } from './check-helpers.ts';

/** Where a waypoint listens for HBONE. */
const WAYPOINT_PORT = 15008;
const WAYPOINT_PROTOCOL = 'HBONE';
/** What a waypoint makes use of; anything else set would silently not hold. */
const SPEC_FIELDS = ['gatewayClassName', 'listeners'];
const LISTENER_FIELDS = ['name', 'port', 'protocol', 'allowedRoutes'];
const DNS_LABEL = FORMATS.find(({ name }) => name === 'dns-label');

/** A Gateway of ours has one listener, that of a waypoint; a Gateway of another class is none of our business. */
export function checkGateway(gateway: Gateway): FieldProblem[] {
  const { listeners, gatewayClassName } = gateway.spec;
  if (gatewayClassName !== WAYPOINT_CLASS) return [];
  const found = duplicates(listeners, ({ name }) => name, ['spec', 'listeners'], 'listener');
  found.push(...unsupported(gateway.spec, SPEC_FIELDS, ['spec']));
  listeners.forEach((listener, i) =>
    found.push(...unsupported(listener, LISTENER_FIELDS, ['spec', 'listeners', i])),
  );
  const { name } = gateway.metadata;
  // It is the name of its Service and of its account too.
  if (DNS_LABEL?.check(name) === false) found.push(notAllowed(['metadata', 'name'], name, DNS_LABEL.allowed));
  listeners.forEach(({ port, protocol, allowedRoutes }, i) => {
    const path = ['spec', 'listeners', i];
    if (protocol !== WAYPOINT_PROTOCOL)
      found.push(notAllowed([...path, 'protocol'], protocol, `${WAYPOINT_PROTOCOL} (Loam has no ingress)`));
    if (port !== WAYPOINT_PORT) found.push(notAllowed([...path, 'port'], port, String(WAYPOINT_PORT)));
    const from = allowedRoutes?.namespaces?.from;
    if (from === 'Selector')
      found.push(notAllowed([...path, 'allowedRoutes', 'namespaces', 'from'], from, 'Same, All, None'));
    if (allowedRoutes?.kinds !== undefined)
      found.push(problem([...path, 'allowedRoutes', 'kinds'], 'kinds of routes cannot be restricted yet'));
  });
  if (listeners.length > 1) found.push(problem(['spec', 'listeners'], 'a waypoint has one listener'));
  return [...found, ...settingProblems(gateway.metadata.annotations ?? {})];
}

function unsupported(object: object, supported: readonly string[], path: Path): FieldProblem[] {
  return Object.keys(object).flatMap((key) =>
    supported.includes(key)
      ? []
      : [problem([...path, key], `a waypoint has no ${key}`, undefined, supported.join(', '))],
  );
}

/** Our class cannot be taken over by another controller's. */
export function checkGatewayClass({ metadata, spec }: GatewayClass): FieldProblem[] {
  if (metadata.name !== WAYPOINT_CLASS || spec.controllerName === WAYPOINT_CONTROLLER) return [];
  return [notAllowed(['spec', 'controllerName'], spec.controllerName, WAYPOINT_CONTROLLER)];
}

/** What a schema cannot say of a grant: nothing. A grant for kinds that nobody here refers from has no effect. */
export function checkReferenceGrant(_grant: ReferenceGrant): FieldProblem[] {
  return [];
}
