/** Clients that Node cannot be: a Python process inside a pod, since Python is at hand wherever the tests run. */
import { execFileSync } from 'node:child_process';
import type { Pod } from './lab.ts';
import type { Address } from './socket.ts';

/** connect() through io_uring, by raw system calls (liburing is not needed for one request). */
const IO_URING = String.raw`
import ctypes, mmap, socket, struct, sys
family, ip, port, flags = (socket.AF_INET6 if sys.argv[1] == '6' else socket.AF_INET), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
libc = ctypes.CDLL(None, use_errno=True)
SETUP, ENTER, CONNECT, GETEVENTS, WAKEUP = 425, 426, 16, 1, 2
params = (ctypes.c_uint32 * 30)()
params[2] = flags
ring = libc.syscall(SETUP, 4, params)
if ring < 0: sys.exit('io_uring_setup: errno %d' % ctypes.get_errno())
sq_head, sq_tail, sq_mask, _, _, _, sq_array = params[10:17]
cq_head, cq_tail, cq_mask, _, _, cqes = params[20:26]
sq = mmap.mmap(ring, sq_array + params[0] * 4, mmap.MAP_SHARED, offset=0)
cq = mmap.mmap(ring, cqes + params[1] * 16, mmap.MAP_SHARED, offset=0x8000000)
sqes = mmap.mmap(ring, params[0] * 64, mmap.MAP_SHARED, offset=0x10000000)
s = socket.socket(family, socket.SOCK_STREAM)
if family == socket.AF_INET:
    address = struct.pack('=H', family) + struct.pack('!H', port) + socket.inet_pton(family, ip) + bytes(8)
else:
    address = struct.pack('=H', family) + struct.pack('!HI', port, 0) + socket.inet_pton(family, ip) + bytes(4)
buffer = ctypes.create_string_buffer(address, len(address))
sqes[0:64] = struct.pack('=BBHiQQIIQ24x', CONNECT, 0, 0, s.fileno(), len(address), ctypes.addressof(buffer), 0, 0, 7)
sq[sq_array:sq_array + 4] = struct.pack('=I', 0)
sq[sq_tail:sq_tail + 4] = struct.pack('=I', 1)
if libc.syscall(ENTER, ring, 1, 1, GETEVENTS | (WAKEUP if flags & 2 else 0), None, 0) < 0:
    sys.exit('io_uring_enter: errno %d' % ctypes.get_errno())
data, result = struct.unpack('=Qi', cq[cqes:cqes + 12])
print(data, result, *s.getpeername()[:2])
`;

/** One process makes the socket and passes it over a unix socket to another, which connects. */
const PASSED = String.raw`
import array, os, socket, sys
family, ip, port = (socket.AF_INET6 if sys.argv[1] == '6' else socket.AF_INET), sys.argv[2], int(sys.argv[3])
giver, taker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
child = os.fork()
if child == 0:
    made = socket.socket(family, socket.SOCK_STREAM)
    socket.send_fds(giver, [b'here'], [made.fileno()])
    os._exit(0)
_, fds, _, _ = socket.recv_fds(taker, 16, 1)
os.waitpid(child, 0)
s = socket.socket(fileno=fds[0])
s.connect((ip, port))
print(7, 0, *s.getpeername()[:2])
`;

/** Connects in a control group of its own, whose own program writes another port into the destination first. */
const UNDER_A_PROGRAM = String.raw`
import ctypes, os, platform, socket, struct, sys
family, ip, port, group, other = (socket.AF_INET6 if sys.argv[1] == '6' else socket.AF_INET), sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
libc = ctypes.CDLL(None, use_errno=True)
BPF = 321 if platform.machine() == 'x86_64' else 280
LOAD, ATTACH, SOCK_ADDR, CONNECT4, CONNECT6, MULTI = 5, 8, 18, 10, 11, 2
def bpf(command, attr):
    buffer = ctypes.create_string_buffer(attr, len(attr))
    result = libc.syscall(BPF, command, buffer, len(attr))
    if result < 0: sys.exit('bpf %d: errno %d' % (command, ctypes.get_errno()))
    return result
# r2 = the port; ctx->user_port = r2; return 1
code = struct.pack('=BBhi', 0xb7, 2, 0, socket.htons(other)) + struct.pack('=BBhi', 0x63, 0x21, 24, 0) + struct.pack('=BBhi', 0xb7, 0, 0, 1) + struct.pack('=BBhi', 0x95, 0, 0, 0)
instructions, license = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b'GPL')
kind = CONNECT6 if family == socket.AF_INET6 else CONNECT4
attr = struct.pack('=IIQQIIQII16sII', SOCK_ADDR, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(license), 0, 0, 0, 0, 0, b'other_port', 0, kind)
program = bpf(LOAD, attr)
directory = os.open(group, os.O_RDONLY)
bpf(ATTACH, struct.pack('=IIII', directory, program, kind, MULTI))
with open(group + '/cgroup.procs', 'w') as procs: procs.write(str(os.getpid()))
s = socket.socket(family, socket.SOCK_STREAM)
s.connect((ip, port))
print(7, 0, *s.getpeername()[:2])
`;

export const SQPOLL = 2;

/** Connects through io_uring; with {@link SQPOLL} a kernel thread does it. Returns what getpeername() says then. */
export function connectByIoUring(pod: Pod, family: 4 | 6, to: Address, flags = 0): Address {
  return runInside(pod, IO_URING, family, to, String(flags));
}

/** Connects with a socket that another process made. */
export function connectPassed(pod: Pod, family: 4 | 6, to: Address): Address {
  return runInside(pod, PASSED, family, to);
}

/** Connects from a control group (made for it, and empty) with a program of its own, which makes `other` of the port. */
export function connectUnderProgram(
  pod: Pod,
  family: 4 | 6,
  to: Address,
  group: string,
  other: number,
): Address {
  return runInside(pod, UNDER_A_PROGRAM, family, to, group, String(other));
}

function runInside(pod: Pod, script: string, family: 4 | 6, to: Address, ...more: string[]): Address {
  const args = [
    `--net=/run/netns/${pod.netns}`,
    'python3',
    '-c',
    script,
    String(family),
    to.ip,
    String(to.port),
  ];
  const out = execFileSync('nsenter', [...args, ...more], { encoding: 'utf8' });
  const [data, result, ip = '', port] = out.trim().split(' ');
  if (data !== '7' || result !== '0') throw new Error(`connect ended with ${out}`);
  return { ip, port: Number(port) };
}
