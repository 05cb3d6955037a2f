/** Where a waypoint has files of keys. Policies name no others: reading some of the kernel's files has effects. */
export const JWKS_FOLDER = '/etc/loam/jwks';
