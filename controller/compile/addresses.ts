import { canonicalIp, cidrFromText, ipToBytes } from '../../lib/mesh/state/ip.ts';

/** The bytes of an IP address in network order; v4-mapped IPv6 becomes IPv4, so that one address has one form. */
export function addressBytes(text: string): Uint8Array {
  return Uint8Array.from(ipToBytes(text) ?? []);
}

/** The usual text of an address: one address, one text. */
export function canonicalAddress(text: string): string {
  return canonicalIp(text) ?? text;
}

export interface Block {
  readonly address: Uint8Array;
  readonly length: number;
}

/** A CIDR block, or a single address as a block of full length; the host bits are cleared. Mapped ones become IPv4. */
export function blockOf(text: string): Block {
  const { bytes, length } = cidrFromText(text) ?? { bytes: [], length: 0 };
  const address = bytes.map((byte, i) => {
    const kept = Math.min(8, Math.max(0, length - i * 8));
    return byte & (0xff << (8 - kept)) & 0xff;
  });
  return { address: Uint8Array.from(address), length };
}
