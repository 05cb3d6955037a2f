import { familyOf, givenClusterIps, type IpFamily } from '../../lib/ip-families.ts';
import { isHeadless } from '../compile/services.ts';
import type { Service } from '../model/objects.ts';
import { FORMATS } from '../schema/formats.ts';
import type { FieldProblem } from '../schema/validate.ts';
import { duplicates, notAllowed, type Path, problem } from './check-helpers.ts';

const FORMAT = new Map(FORMATS.map((format) => [format.name, format]));
const MAX_FAMILIES = 2;

/** What a schema cannot say of a Service: rules between its fields. */
export function checkService(service: Service): FieldProblem[] {
  return [...checkPorts(service), ...checkFamilies(service)];
}

function checkPorts(service: Service): FieldProblem[] {
  const { ports = [], type } = service.spec;
  const path: Path = ['spec', 'ports'];
  const found = [
    ...duplicates(ports, (p) => p.name ?? '', path, 'port name'),
    ...duplicates(ports, (p) => `${p.port}/${p.protocol ?? 'TCP'}`, path, 'port'),
  ];
  if (ports.length > 1) {
    ports.forEach((port, i) => {
      if (port.name === undefined)
        found.push(problem([...path, i], 'a name is needed where a Service has several ports'));
    });
  }
  ports.forEach(({ targetPort }, i) => {
    const format = FORMAT.get(typeof targetPort === 'number' ? 'port-number' : 'port-name');
    if (targetPort === undefined || format === undefined || format.check(String(targetPort))) return;
    found.push(notAllowed([...path, i, 'targetPort'], targetPort, format.allowed));
  });
  if (ports.length === 0 && type !== 'ExternalName' && !isHeadless(service)) {
    found.push(problem(path, 'a Service with an address needs at least one port'));
  }
  return found;
}

/** The API server's rules between a Service's families and addresses (KEP-563). */
function checkFamilies({ spec }: Service): FieldProblem[] {
  const { ipFamilies = [], ipFamilyPolicy, clusterIP, clusterIPs = [] } = spec;
  const found = [
    ...duplicates(ipFamilies, (family) => family, ['spec', 'ipFamilies'], 'family'),
    ...duplicates(
      clusterIPs,
      (ip) => (ip === 'None' || ip === '' ? undefined : familyOf(ip)),
      ['spec', 'clusterIPs'],
      'an address of family',
    ),
  ];
  const [primary] = clusterIPs;
  if (clusterIP !== undefined && primary !== undefined && clusterIP !== primary) {
    const allowed = `${clusterIP}, as spec.clusterIP says`;
    found.push(notAllowed(['spec', 'clusterIPs', 0], primary, allowed));
  }
  if (clusterIPs.includes('None') && clusterIPs.length > 1) {
    const allowed = '"None" alone, or one address of each family';
    found.push(notAllowed(['spec', 'clusterIPs'], clusterIPs, allowed));
  }
  if (clusterIPs.length > MAX_FAMILIES)
    found.push(notAllowed(['spec', 'clusterIPs'], clusterIPs, 'at most one address of each family'));
  const given = givenClusterIps(spec);
  given.forEach((ip, i) => {
    const family: IpFamily | undefined = ipFamilies[i];
    if (family === undefined || familyOf(ip) === family) return;
    const path: Path = clusterIPs.length > 0 ? ['spec', 'clusterIPs', i] : ['spec', 'clusterIP'];
    found.push(notAllowed(path, ip, `an ${family} address, as spec.ipFamilies[${i}] says`));
  });
  if (ipFamilyPolicy === 'SingleStack' && Math.max(ipFamilies.length, given.length) > 1) {
    const allowed = 'PreferDualStack or RequireDualStack, where a Service has two families';
    found.push(notAllowed(['spec', 'ipFamilyPolicy'], ipFamilyPolicy, allowed));
  }
  return found;
}
