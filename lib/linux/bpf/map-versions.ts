/**
 * From what an earlier version of Loam left pinned to the maps of this one, while the programs of the earlier one run on
 * (docs/decisions/0111). Each step may be the last: the next process begins again, and finds nothing half said.
 */
import { closeFd } from '../libc.ts';
import { BpfError } from './errors.ts';
import { pinOf, readPin, type FormerMap, type Layout } from './instance-layout.ts';
import type { InstanceMaps } from './instance-maps.ts';
import { BpfMap, mapSizes } from './map.ts';
import type { PinFolder } from './pins.ts';

/** A pinned map that this version works with no more, and where its entries go. */
interface Superseded {
  readonly pin: string;
  readonly family: string;
  readonly former: FormerMap | undefined;
}

/**
 * The pinned maps that are not of this version.
 *
 * @throws BpfError BPF_LAYOUT when one of them is of a version that this one cannot begin with; nothing was changed
 */
export function supersededMaps(pins: PinFolder, instance: string, layout: Layout): Superseded[] {
  const current = new Set(Object.entries(layout.maps).map(([name, map]) => pinOf(name, map)));
  return pins
    .list('maps')
    .filter((pin) => !current.has(pin))
    .map((pin) => {
      const { family, version } = readPin(pin) ?? { family: pin, version: Infinity };
      const map = layout.maps[family];
      const former = map?.former?.[version];
      if (map === undefined || version > map.version) {
        throw new BpfError(
          'BPF_LAYOUT',
          `instance ${instance} has map ${pin}, which a newer version of Loam made${knows(map)}; run that version ` +
            'again. To go back to this one, take the pods off the node, and then what is pinned: agent --cleanup',
        );
      }
      if (former === undefined && map.fresh !== true) {
        throw new BpfError(
          'BPF_LAYOUT',
          `instance ${instance} has map ${pin} of a version of Loam that is too old to be taken over from${knows(map)}; ` +
            'upgrade by one between, or take the pods off the node, and then what is pinned: agent --cleanup',
        );
      }
      return { pin, family, former };
    });
}

function knows(map: Layout['maps'][string] | undefined): string {
  if (map === undefined) return '';
  const versions = [...Object.keys(map.former ?? {}), String(map.version)];
  return ` (this one knows version ${versions.join(', ')} of it)`;
}

/**
 * Says in the maps of this version what superseded ones say. What is there already stays: an earlier attempt wrote it,
 * and programs may have counted on.
 */
export function fillFrom(superseded: readonly Superseded[], pins: PinFolder, maps: InstanceMaps): void {
  for (const { pin, family, former } of superseded) {
    if (former === undefined) continue;
    const fd = pins.get('maps', pin);
    if (fd === undefined) continue;
    try {
      checkSizes(pin, fd, former);
      const [to] = maps.ofFamily(family);
      if (to === undefined) throw new Error(`there is no map ${family}`);
      const from = new BpfMap(pin, fd, former.keyBytes, former.valueBytes);
      for (const key of from.keys()) {
        const value = from.get(key);
        const entry = value && former.convert({ key, value });
        if (entry !== undefined) to.add(entry.key, entry.value);
      }
    } finally {
      closeFd(fd);
    }
  }
}

/** Ends what is superseded: no program works with it any more. */
export function dropSuperseded(superseded: readonly Superseded[], pins: PinFolder): void {
  for (const { pin } of superseded) pins.drop('maps', pin);
}

/**
 * The maps that objects work with, as the kernel has them, against the layout: of a wrong size, the kernel would write
 * beyond our buffers.
 *
 * @param loaded descriptors by name
 * @throws BpfError BPF_LAYOUT
 */
export function checkMaps(layout: Layout, loaded: ReadonlyMap<string, number>): void {
  for (const [name, map] of Object.entries(layout.maps)) {
    const fd = loaded.get(name);
    if (fd !== undefined) checkSizes(pinOf(name, map), fd, map);
  }
}

function checkSizes(pin: string, fd: number, sizes: { keyBytes: number; valueBytes: number }): void {
  const { keyBytes, valueBytes } = mapSizes(fd);
  if (keyBytes === sizes.keyBytes && valueBytes === sizes.valueBytes) return;
  throw new BpfError(
    'BPF_LAYOUT',
    `map ${pin} has keys of ${keyBytes} and values of ${valueBytes} bytes, and should have ` +
      `${sizes.keyBytes} and ${sizes.valueBytes}: it is not what its name says`,
  );
}
