/** The list of all that an image holds, as SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3). */
import { createHash } from 'node:crypto';
import type { Contents } from './contents.ts';
import type { Architecture } from './elf.ts';
import type { NpmPackage } from './npm-packages.ts';
import type { SystemPackage } from './system-packages.ts';

const NOT_SAID = 'NOASSERTION';

interface SpdxPackage {
  readonly SPDXID: string;
  readonly name: string;
  readonly versionInfo: string;
  readonly downloadLocation: string;
  readonly filesAnalyzed: false;
  readonly licenseConcluded: string;
  readonly licenseDeclared: string;
  readonly copyrightText: string;
  readonly externalRefs?: readonly object[];
  readonly checksums?: readonly object[];
}

/**
 * @param created when the image says that it was made: the same image has the same list
 * @param digest of the image's manifest
 */
export function sbom(
  contents: Contents,
  image: { readonly name: string; readonly digest: string; readonly architecture: Architecture },
  created: Date,
): object {
  const root = spdxPackage('loam', 'loam', contents.version, contents.license, []);
  const parts = [...contents.npm.map(npmPackage), ...contents.system.map(systemPackage)];
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: `${image.name} (${image.architecture})`,
    documentNamespace: `https://loam.dev/sbom/${image.digest.replace(':', '/')}`,
    creationInfo: {
      created: created.toISOString().replace(/\.\d+Z$/, 'Z'),
      creators: [`Tool: loam-${contents.version}`],
    },
    packages: [{ ...root, checksums: [checksum(image.digest)] }, ...parts],
    relationships: [
      relation('SPDXRef-DOCUMENT', 'DESCRIBES', root.SPDXID),
      ...parts.map(({ SPDXID }) => relation(root.SPDXID, 'CONTAINS', SPDXID)),
    ],
  };
}

function npmPackage({ name, place, version, license, integrity }: NpmPackage): SpdxPackage {
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  const hash = /^sha512-(.+)$/.exec(integrity ?? '')?.[1];
  return {
    ...spdxPackage(`npm-${place}`, name, version, license, [purl]),
    ...(hash === undefined
      ? {}
      : {
          checksums: [{ algorithm: 'SHA512', checksumValue: Buffer.from(hash, 'base64').toString('hex') }],
        }),
  };
}

function systemPackage({ name, version, architecture }: SystemPackage): SpdxPackage {
  const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`;
  return spdxPackage(`deb-${name}`, name, version, undefined, [purl]);
}

function spdxPackage(
  key: string,
  name: string,
  version: string,
  license: string | undefined,
  purls: readonly string[],
): SpdxPackage {
  return {
    // Letters, digits, dot and hyphen only; the hash keeps apart what that makes alike.
    SPDXID: `SPDXRef-${key.replaceAll(/[^A-Za-z0-9.-]+/g, '-')}-${createHash('sha256').update(key).digest('hex').slice(0, 8)}`,
    name,
    versionInfo: version,
    downloadLocation: NOT_SAID,
    filesAnalyzed: false,
    licenseConcluded: NOT_SAID,
    licenseDeclared: license ?? NOT_SAID,
    copyrightText: NOT_SAID,
    ...(purls.length === 0
      ? {}
      : {
          externalRefs: purls.map((purl) => ({
            referenceCategory: 'PACKAGE-MANAGER',
            referenceType: 'purl',
            referenceLocator: purl,
          })),
        }),
  };
}

function checksum(digest: string): object {
  return { algorithm: 'SHA256', checksumValue: digest.slice('sha256:'.length) };
}

function relation(from: string, type: string, to: string): object {
  return { spdxElementId: from, relationshipType: type, relatedSpdxElement: to };
}
