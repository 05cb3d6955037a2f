import ipaddr from 'ipaddr.js';

/** The bytes of an IP address in network order; v4-mapped IPv6 becomes IPv4, so that one address has one form. */
export function addressBytes(text: string): Uint8Array {
  return Uint8Array.from(ipaddr.process(text).toByteArray());
}

/** The usual text of an address: one address, one text. */
export function canonicalAddress(text: string): string {
  return ipaddr.process(text).toString();
}

/** The length of ::ffff:0:0/96, RFC 4291 section 2.5.5.2. */
const MAPPED_PREFIX_BITS = 96;

export interface Block {
  readonly address: Uint8Array;
  readonly length: number;
}

/** A CIDR block, or a single address as a block of full length; the host bits are cleared. */
export function blockOf(text: string): Block {
  const [address = '', length] = text.split('/');
  const parsed = ipaddr.parse(address);
  const isMapped = parsed instanceof ipaddr.IPv6 && parsed.isIPv4MappedAddress();
  const written = length === undefined ? parsed.toByteArray().length * 8 : Number(length);
  // Connections are seen with IPv4 addresses only: a block of mapped ones would never match.
  const asIpv4 = isMapped && written >= MAPPED_PREFIX_BITS;
  const bytes = Uint8Array.from((asIpv4 ? parsed.toIPv4Address() : parsed).toByteArray());
  const bits = asIpv4 ? written - MAPPED_PREFIX_BITS : written;
  return {
    address: bytes.map((byte, i) => {
      const kept = Math.min(8, Math.max(0, bits - i * 8));
      return byte & (0xff << (8 - kept)) & 0xff;
    }),
    length: bits,
  };
}
