/** An IP family, as Kubernetes names it. */
export type IpFamily = 'IPv4' | 'IPv6';

export type IpFamilyPolicy = 'SingleStack' | 'PreferDualStack' | 'RequireDualStack';

/** What a Service's spec says of its families. */
export interface FamilySpec {
  readonly ipFamilyPolicy?: IpFamilyPolicy | undefined;
  readonly ipFamilies?: readonly IpFamily[] | undefined;
  readonly clusterIP?: string | undefined;
  readonly clusterIPs?: readonly string[] | undefined;
  readonly selector?: Readonly<Record<string, string>> | undefined;
}

/** The families of the cluster, its own first: what a Service gets that says nothing. */
const CLUSTER_FAMILIES: readonly IpFamily[] = ['IPv4', 'IPv6'];

export function familyOf(ip: string): IpFamily {
  return ip.includes(':') ? 'IPv6' : 'IPv4';
}

/** The addresses that a spec itself gives, in its order; none for a headless Service. */
export function givenClusterIps({ clusterIP, clusterIPs }: FamilySpec): readonly string[] {
  const all = clusterIPs !== undefined && clusterIPs.length > 0 ? clusterIPs : [clusterIP ?? ''];
  return all.filter((ip) => ip !== '' && ip !== 'None');
}

/**
 * The families of a Service, the primary first, as the API server fills them in on a dual-stack cluster (KEP-563): what
 * says nothing of families has the cluster's primary alone; a headless Service without a selector has both, since nobody
 * knows what its endpoints have. The spec must have passed validation.
 */
export function serviceFamilies(spec: FamilySpec): readonly IpFamily[] {
  const { ipFamilies = [], clusterIP, clusterIPs = [], selector = {} } = spec;
  const given = givenClusterIps(spec);
  const named = ipFamilies.length > 0 ? ipFamilies : given.map(familyOf);
  const isHeadless = clusterIP === 'None' || clusterIPs[0] === 'None';
  const anyEndpoints = isHeadless && Object.keys(selector).length === 0;
  const policy =
    spec.ipFamilyPolicy ?? (named.length > 1 || anyEndpoints ? 'RequireDualStack' : 'SingleStack');
  const first = named[0] ?? CLUSTER_FAMILIES[0] ?? 'IPv4';
  if (policy === 'SingleStack') return [first];
  return [first, ...CLUSTER_FAMILIES.filter((family) => family !== first)];
}

/** Which families a pod of the local mesh has, the primary first; both where a pod does not say. */
export const POD_FAMILIES_ANNOTATION = 'local.loam.dev/ip-families';

const POD_FAMILIES: Readonly<Record<string, readonly IpFamily[]>> = {
  IPv4: ['IPv4'],
  IPv6: ['IPv6'],
  'IPv4,IPv6': ['IPv4', 'IPv6'],
  'IPv6,IPv4': ['IPv6', 'IPv4'],
};
export const POD_FAMILIES_ALLOWED: readonly string[] = Object.keys(POD_FAMILIES);

/** The value of {@link POD_FAMILIES_ANNOTATION}; undefined for one that is not allowed. */
export function readPodFamilies(value: string | undefined): readonly IpFamily[] | undefined {
  if (value === undefined) return CLUSTER_FAMILIES;
  return Object.hasOwn(POD_FAMILIES, value) ? POD_FAMILIES[value] : undefined;
}
