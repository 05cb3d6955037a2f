import os from 'node:os';
import { canonicalIp } from './state/ip.ts';

/** Whether an address is one of this process's network namespace, loopback aside; asked anew each time. */
export function isOwnAddress(ip: string): boolean {
  return Object.values(os.networkInterfaces()).some((addresses) =>
    addresses?.some((own) => !own.internal && canonicalIp(own.address) === ip),
  );
}
