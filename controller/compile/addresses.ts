import ipaddr from 'ipaddr.js';

/** The bytes of an IP address in network order; v4-mapped IPv6 becomes IPv4, so that one address has one form. */
export function addressBytes(text: string): Uint8Array {
  return Uint8Array.from(ipaddr.process(text).toByteArray());
}

/** The usual text of an address: one address, one text. */
export function canonicalAddress(text: string): string {
  return ipaddr.process(text).toString();
}

export interface Block {
  readonly address: Uint8Array;
  readonly length: number;
}

/** A CIDR block, or a single address as a block of full length; the host bits are cleared. */
export function blockOf(text: string): Block {
  const [address = '', length] = text.split('/');
  const bytes = Uint8Array.from(ipaddr.parse(address).toByteArray());
  const bits = length === undefined ? bytes.length * 8 : Number(length);
  return {
    address: bytes.map((byte, i) => {
      const kept = Math.min(8, Math.max(0, bits - i * 8));
      return byte & (0xff << (8 - kept)) & 0xff;
    }),
    length: bits,
  };
}
