import { check, sys } from './libc.ts';

const SOL_SOCKET = 1;
const SO_LINGER = 13;

/**
 * Whether the close of a TCP socket resets its connection, also the close that the death of its process is (SO_LINGER
 * with a time of 0; tcp(7), socket(7)). What a listener accepts inherits it.
 *
 * @throws SystemCallError
 */
export function setResetOnClose(fd: number, on: boolean): void {
  // struct linger: l_onoff, l_linger.
  const linger = new Uint8Array(8);
  new DataView(linger.buffer).setInt32(0, Number(on), true);
  check(sys.setsockopt(fd, SOL_SOCKET, SO_LINGER, linger, linger.length), 'setsockopt', fd, 'SO_LINGER');
}
