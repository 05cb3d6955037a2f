/** A process that relays what comes to its listener to a port of loopback, until it is killed. It says its own port, and how each relay ended. */
import net from 'node:net';
import { openNetns } from '../../../../../../lib/linux/netns.ts';
import { bindTo, closeFd, localAddress, tcpSocket } from '../../../../../../lib/linux/socket.ts';
import { Listener } from '../../../../../../lib/mesh/hbone/listener.ts';
import { Relay } from '../../../../../../lib/mesh/hbone/relay.ts';

const port = Number(process.argv[2]);
const netns = openNetns('/proc/self/ns/net');
const fd = tcpSocket(netns);
closeFd(netns);
bindTo(fd, '127.0.0.1', 0);
const listener = new Listener(
  fd,
  {
    connection: (socket) => {
      if (port === 0) return;
      const target = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      target.once('connect', () => void new Relay(socket, target).done.then(({ kind }) => console.log(kind)));
    },
    isTooMany: () => undefined,
    crowded: () => undefined,
    failed: () => undefined,
  },
  'applications',
);
await listener.ready;
console.log(localAddress(fd).port);
