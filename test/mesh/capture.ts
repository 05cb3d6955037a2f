import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ipFromBytes } from '../../lib/mesh/state/ip.ts';

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const PROTOCOL_TCP = 6;
/** Whole frames: a capture that cuts them could hide what it should find. */
const SNAPLEN = '262144';

/** One TCP segment of a capture. */
export interface Segment {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly payload: Buffer;
}

/** tcpdump on one interface of a network namespace, into a file. */
export class Capture {
  readonly #child: ChildProcess;
  readonly #dir: string;

  private constructor(child: ChildProcess, dir: string) {
    this.#child = child;
    this.#dir = dir;
  }

  /** @param netns path of the namespace */
  static async start(netns: string, device: string): Promise<Capture> {
    const dir = mkdtempSync(join(tmpdir(), 'loam-capture-'));
    const child = spawn(
      'nsenter',
      [
        ...[`--net=${netns}`, 'setpriv', '--pdeathsig', 'KILL', 'tcpdump'],
        ...[
          '-i',
          device,
          '--immediate-mode',
          '-U',
          '-s',
          SNAPLEN,
          '-B',
          '16384',
          '-Z',
          'root',
          '-w',
          join(dir, 'pcap'),
        ],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    await new Promise<void>((resolve, reject) => {
      let said = '';
      child.stderr?.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes('listening on')) resolve();
      });
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`tcpdump ended: ${said}`)));
    });
    return new Capture(child, dir);
  }

  /** Ends the capture. @returns all of it, raw, and its TCP segments */
  async stop(): Promise<{ raw: Buffer; segments: Segment[] }> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    // SIGINT, so that tcpdump writes out what it still holds.
    this.#child.kill('SIGINT');
    await ended;
    const raw = readFileSync(join(this.#dir, 'pcap'));
    rmSync(this.#dir, { recursive: true });
    return { raw, segments: parse(raw) };
  }
}

/** Reads a pcap file in this machine's byte order (pcap-savefile(5), Ethernet link type). */
function parse(file: Buffer): Segment[] {
  const segments: Segment[] = [];
  for (let at = 24; at + 16 <= file.length;) {
    const length = file.readUInt32LE(at + 8);
    const segment = parseFrame(file.subarray(at + 16, at + 16 + length));
    if (segment) segments.push(segment);
    at += 16 + length;
  }
  return segments;
}

function parseFrame(frame: Buffer): Segment | undefined {
  if (frame.length < 34) return undefined;
  const ip = frame.subarray(14);
  switch (frame.readUInt16BE(12)) {
    case ETHERTYPE_IPV4: {
      if (ip[9] !== PROTOCOL_TCP) return undefined;
      const address = (offset: number): string => [...ip.subarray(offset, offset + 4)].join('.');
      const tcp = ip.subarray(((ip[0] ?? 0) & 0x0f) * 4, ip.readUInt16BE(2));
      return segmentOf(address(12), address(16), tcp);
    }
    case ETHERTYPE_IPV6: {
      // Nothing here sends extension headers before TCP.
      if (ip[6] !== PROTOCOL_TCP) return undefined;
      const address = (offset: number): string => ipFromBytes(ip.subarray(offset, offset + 16)) ?? '';
      return segmentOf(address(8), address(24), ip.subarray(40, 40 + ip.readUInt16BE(4)));
    }
    default:
      return undefined;
  }
}

function segmentOf(source: string, destination: string, tcp: Buffer): Segment {
  return {
    source,
    sourcePort: tcp.readUInt16BE(0),
    destination,
    destinationPort: tcp.readUInt16BE(2),
    payload: tcp.subarray(((tcp[12] ?? 0) >> 4) * 4),
  };
}
