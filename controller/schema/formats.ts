import ipaddr from 'ipaddr.js';
import { cidrFromText } from '../../lib/mesh/state/ip.ts';
import { GATEWAY_FORMATS } from './gateway-formats.ts';

/** One kind of text value: how it is checked, and the sentence that tells the user what is allowed. */
export interface Format {
  readonly name: string;
  readonly allowed: string;
  readonly check: (value: string) => boolean;
}

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const LABEL_MAX = 63;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const SUBDOMAIN_MAX = 253;
const QUALIFIED = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const PORT_MAX = 65535;
const WILDCARD_MAX = 1024;

function isDnsLabel(value: string): boolean {
  return value.length <= LABEL_MAX && LABEL.test(value);
}

function isSubdomain(value: string): boolean {
  return value.length <= SUBDOMAIN_MAX && SUBDOMAIN.test(value);
}

function isLabelValue(value: string): boolean {
  return value === '' || (value.length <= LABEL_MAX && QUALIFIED.test(value));
}

function isQualifiedName(value: string): boolean {
  const slash = value.indexOf('/');
  const name = value.slice(slash + 1);
  if (slash >= 0 && !isSubdomain(value.slice(0, slash))) return false;
  return name.length > 0 && name.length <= LABEL_MAX && QUALIFIED.test(name);
}

function isPortNumber(value: string): boolean {
  return /^[1-9][0-9]{0,4}$/.test(value) && Number(value) <= PORT_MAX;
}

/** IANA service name, as Kubernetes wants for a container port's name (RFC 6335 section 5.1). */
function isPortName(value: string): boolean {
  return (
    value.length <= 15 &&
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(value) &&
    /[a-z]/.test(value) &&
    !value.includes('--')
  );
}

/** Only the usual four-part notation and IPv6: `010.1` style texts mean different things to different programs. */
function isIp(value: string): boolean {
  return (
    ipaddr.IPv4.isValidFourPartDecimal(value) ||
    (value.includes(':') && ipaddr.IPv6.isValid(value) && !value.includes('%'))
  );
}

/** A block of IPv4-mapped addresses that is wider than all of IPv4 would hold neither those nor anything that exists. */
function isIpOrCidr(value: string): boolean {
  const [address = ''] = value.split('/');
  const cidr = isIp(address) ? cidrFromText(value) : undefined;
  if (cidr === undefined) return false;
  return cidr.bytes.length === 4 || !ipaddr.IPv6.parse(address).isIPv4MappedAddress();
}

/** Istio's match: an exact text, `*` for any, `prefix*` or `*suffix`. */
function isWildcard(value: string): boolean {
  if (value === '' || value.length > WILDCARD_MAX || /\s/.test(value)) return false;
  const star = value.indexOf('*');
  return star < 0 || (star === value.lastIndexOf('*') && (star === 0 || star === value.length - 1));
}

function isPrincipal(value: string): boolean {
  return isWildcard(value) && !value.startsWith('spiffe:');
}

/** `account` of the policy's own namespace, or `namespace/account`. */
function isServiceAccountName(value: string): boolean {
  const parts = value.split('/');
  if (parts.length > 2) return false;
  const account = parts.pop() ?? '';
  return isSubdomain(account) && parts.every(isDnsLabel);
}

export const FORMATS: readonly Format[] = [
  {
    name: 'dns-label',
    allowed:
      'lower case letters, digits and "-", at most 63, beginning and ending with a letter or digit (RFC 1123)',
    check: isDnsLabel,
  },
  {
    name: 'subdomain',
    allowed:
      'lower case letters, digits, "-" and ".", at most 253, each part beginning and ending with a letter or digit (RFC 1123)',
    check: isSubdomain,
  },
  {
    name: 'label-value',
    allowed:
      'at most 63 letters, digits, "-", "_" and ".", beginning and ending with a letter or digit, or empty',
    check: isLabelValue,
  },
  {
    name: 'qualified-name',
    allowed: '[prefix/]name, the name at most 63 letters, digits, "-", "_" and ".", the prefix a DNS name',
    check: isQualifiedName,
  },
  { name: 'port-number', allowed: 'a port from 1 to 65535, written as a text ("8080")', check: isPortNumber },
  {
    name: 'port-name',
    allowed: 'at most 15 lower case letters, digits and "-", with at least one letter',
    check: isPortName,
  },
  { name: 'ip', allowed: 'an IPv4 or IPv6 address', check: isIp },
  {
    name: 'cluster-ip',
    allowed: 'an IPv4 or IPv6 address, "None" or empty',
    check: (v) => v === '' || v === 'None' || isIp(v),
  },
  {
    name: 'ip-block',
    allowed: 'an IPv4 or IPv6 address or CIDR block, for example 10.0.0.0/8',
    check: isIpOrCidr,
  },
  { name: 'wildcard', allowed: 'an exact text, "*", "prefix*" or "*suffix"', check: isWildcard },
  {
    name: 'principal',
    allowed:
      '<trust domain>/ns/<namespace>/sa/<service account> without "spiffe://", or "*", "prefix*", "*suffix"',
    check: isPrincipal,
  },
  {
    name: 'service-account',
    allowed: '<service account> or <namespace>/<service account>, without wildcard',
    check: isServiceAccountName,
  },
  ...GATEWAY_FORMATS,
];
