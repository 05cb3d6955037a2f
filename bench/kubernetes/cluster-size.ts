/** How many namespaces the Services and pods of bench/kubernetes/cluster.ts are in: `svc-N` is in `ns-(N mod this)`. */
export const NAMESPACES = 200;
