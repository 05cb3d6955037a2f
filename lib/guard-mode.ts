/** The annotation by which a pod is taken out of the guard on its node (bpf/guard.bpf.c). */
export const GUARD_ANNOTATION = 'loam.dev/guard';
export const GUARD_MODES = ['on', 'none'] as const;

/** `none` is for pods that need raw sockets, tunnels or namespaces of their own: what they send so is not the mesh's. */
export type GuardMode = (typeof GUARD_MODES)[number];

/** Whether a pod is guarded. Any value but `none` means that it is; the controller refuses those that mean nothing. */
export function guardMode(annotations: Readonly<Record<string, string>>): GuardMode {
  return annotations[GUARD_ANNOTATION] === 'none' ? 'none' : 'on';
}
