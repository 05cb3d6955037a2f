/** Answers the CNI plugin (cni/loam-cni.c): a new pod's network is ready when the kernel redirects the pod, and not before. */
import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { isRecord } from '../../../lib/kubernetes/resource.ts';
import { closeFd } from '../../../lib/linux/libc.ts';
import { netnsInode, openNetns, type NetnsInode } from '../../../lib/linux/netns.ts';
import { errorText } from '../../../lib/loam-error.ts';
import type { Log } from '../../log.ts';
import { listenPrivately } from '../../private-listener.ts';
import type { HeldPod } from '../nri/plugin.ts';
import type { Sandboxes } from '../sandboxes.ts';

/** The kubelet waits for minutes, and tries again. */
const HOLD_MS = 20_000;
const MAX_REQUEST_BYTES = 600 * 1024;
const MAX_PODS_AT_ONCE = 256;
const READ_TIMEOUT_MS = 10_000;

export interface CniServerOptions {
  /** Path of the socket; its folder is root's alone. */
  readonly path: string;
  readonly sandboxes: Pick<Sandboxes, 'add' | 'remove'>;
  /** Resolves when the pod may start. @throws what the pod's Event and the kubelet say as the reason why not */
  readonly hold: (pod: HeldPod, atMostMs: number) => Promise<void>;
  /** Whether another holds new pods, so that everything passes here. */
  readonly isSpare: () => boolean;
  readonly log: Log;
  /** Where the host's files are seen. */
  readonly hostRoot?: string;
}

/** What the plugin hands on. */
export interface CniRequest {
  readonly command: string;
  readonly containerId: string;
  readonly netns: string;
  readonly args: Readonly<Record<string, string>>;
  readonly ips: readonly string[];
}

/** @throws Error when it is not what the plugin sends */
export function parseRequest(text: string): CniRequest {
  const [command = '', containerId = '', netns = '', args, ...rest] = text.split('\n');
  if (args === undefined) throw new Error('four lines are missing');
  return {
    command,
    containerId,
    netns,
    args: Object.fromEntries(
      args.split(';').map((each) => [each.split('=', 1)[0] ?? '', each.slice(each.indexOf('=') + 1)]),
    ),
    ips: ipsIn(rest.join('\n')),
  };
}

function ipsIn(config: string): string[] {
  if (config.trim() === '') return [];
  const parsed: unknown = JSON.parse(config);
  const result = isRecord(parsed) ? parsed['prevResult'] : undefined;
  const ips = isRecord(result) && Array.isArray(result['ips']) ? (result['ips'] as unknown[]) : [];
  return ips.flatMap((each) => {
    const address = isRecord(each) ? each['address'] : undefined;
    return typeof address === 'string' ? [address.split('/', 1)[0] ?? ''] : [];
  });
}

/**
 * A path of the host's, as this process gets there: through the host's first process. What a link of the host's leads to would be looked
 * for in our own image, so that the one common link is followed by hand.
 */
export function hostPath(path: string, root = '/proc/1/root'): string {
  return `${root}${path.replace(/^\/var\/run\//, '/run/')}`;
}

export class CniServer {
  readonly #server: Server;
  readonly #options: CniServerOptions;

  private constructor(server: Server, options: CniServerOptions) {
    this.#server = server;
    this.#options = options;
    server.maxConnections = MAX_PODS_AT_ONCE;
    server.on('connection', (socket) => this.#read(socket));
  }

  /** Listens. The agent is alone on its node, so that a socket that is there is a former one's. @throws Error */
  static async listen(options: CniServerOptions): Promise<CniServer> {
    rmSync(options.path, { force: true });
    const server = createServer({ allowHalfOpen: true });
    await listenPrivately(server, options.path);
    return new CniServer(server, options);
  }

  close(): void {
    this.#server.close();
  }

  #read(socket: Socket): void {
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(READ_TIMEOUT_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('data', (part: string) => {
      text += part;
      if (text.length > MAX_REQUEST_BYTES) socket.destroy();
    });
    socket.on('end', () => {
      socket.setTimeout(0);
      void this.#answer(text).then((answer) => socket.end(answer));
    });
  }

  async #answer(text: string): Promise<string> {
    const { sandboxes, hold, isSpare, log, hostRoot } = this.#options;
    try {
      const request = parseRequest(text);
      const { command, containerId, args, ips } = request;
      // Also where it is spare now: it may have been added when it was not.
      if (command === 'DEL') {
        sandboxes.remove(containerId);
        return 'ok';
      }
      if (isSpare()) return 'ok';
      const uid = args['K8S_POD_UID'] ?? '';
      const netns = hostPath(request.netns, hostRoot);
      const inode = inodeOf(netns);
      sandboxes.add({ id: containerId, pod: uid, pid: undefined, ips, netns });
      const pod: HeldPod = {
        uid,
        namespace: args['K8S_POD_NAMESPACE'] ?? '',
        name: args['K8S_POD_NAME'] ?? '',
        labels: undefined,
        hostNetwork: false,
        pid: undefined,
        netns: inode,
      };
      await hold(pod, HOLD_MS);
      return 'ok';
    } catch (error) {
      log.debug({ reason: errorText(error) }, 'a pod of the network plugin may not start');
      return `no ${errorText(error).replaceAll('\n', ' ')}`;
    }
  }
}

/** @throws SystemCallError when there is none, or it is no network namespace */
function inodeOf(path: string): NetnsInode {
  const fd = openNetns(path);
  try {
    return netnsInode(fd);
  } finally {
    closeFd(fd);
  }
}
