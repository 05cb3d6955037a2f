/** The TCP connections of a network namespace: listed, and ended from outside (sock_diag(7)). */
import { ipFromBytes } from './ip.ts';
import { isErrno } from './libc.ts';
import { askNetlink, NETLINK_SOCK_DIAG } from './netlink.ts';
import { inNetns } from './netns.ts';

const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const NLM_F_ACK = 4;
const IPPROTO_TCP = 6;
const AF_INET = 2;
const AF_INET6 = 10;
/** struct inet_diag_req_v2: family, protocol, extensions, states, and the socket's id. */
const REQUEST_BYTES = 56;
const ID_AT = 8;
/** struct inet_diag_msg: family, state, two more, and the socket's id. */
const MESSAGE_ID_AT = 4;
const ID_BYTES = 48;
/** Those that still carry something, by number: established, SYN sent and received, FIN_WAIT 1 and 2, CLOSE_WAIT. */
const CARRYING = [1, 2, 3, 4, 5, 8, 12].reduce((mask, state) => mask | (1 << state), 0);

export interface TcpConnection {
  /** The kernel's name of the socket: no other one has it while the machine runs. */
  readonly cookie: bigint;
  readonly local: { readonly ip: string; readonly port: number };
  readonly remote: { readonly ip: string; readonly port: number };
  /** Family and id of the socket as the kernel said them, by which it is asked for again. */
  readonly raw: { readonly family: number; readonly id: Buffer };
}

/** All TCP connections of a namespace that may still carry something. @throws SystemCallError */
export function tcpConnections(netnsFd: number): TcpConnection[] {
  return inNetns(netnsFd, () =>
    [AF_INET, AF_INET6].flatMap((family) => {
      const body = request(family);
      body.writeUInt32LE(CARRYING, 4);
      const messages = askNetlink(SOCK_DIAG_BY_FAMILY, body, true, 0, Infinity, NETLINK_SOCK_DIAG);
      return messages.map((message) => read(family, message.body));
    }),
  );
}

/**
 * Ends a connection: its owner hears ECONNABORTED, the other end a reset.
 *
 * @returns false when it had ended by itself
 * @throws SystemCallError EOPNOTSUPP where the kernel cannot (CONFIG_INET_DIAG_DESTROY)
 */
export function destroyConnection(netnsFd: number, { raw }: TcpConnection): boolean {
  const body = request(raw.family);
  raw.id.copy(body, ID_AT);
  return inNetns(netnsFd, () => {
    try {
      askNetlink(SOCK_DESTROY, body, false, NLM_F_ACK, Infinity, NETLINK_SOCK_DIAG);
      return true;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false;
      throw error;
    }
  });
}

function request(family: number): Buffer {
  const body = Buffer.alloc(REQUEST_BYTES);
  body.writeUInt8(family, 0);
  body.writeUInt8(IPPROTO_TCP, 1);
  return body;
}

/** struct inet_diag_sockid: ports, addresses of 16 bytes, interface, cookie. */
function read(family: number, body: Buffer): TcpConnection {
  const id = Buffer.from(body.subarray(MESSAGE_ID_AT, MESSAGE_ID_AT + ID_BYTES));
  const ip = (at: number): string =>
    family === AF_INET ? id.subarray(at, at + 4).join('.') : ipFromBytes(id.subarray(at, at + 16));
  return {
    cookie: id.readBigUInt64LE(40),
    local: { ip: ip(4), port: id.readUInt16BE(0) },
    remote: { ip: ip(20), port: id.readUInt16BE(2) },
    raw: { family, id },
  };
}
