/** The label by which a namespace or a pod joins or leaves the mesh (DESIGN §1). */
export const DATAPLANE_MODE_LABEL = 'loam.dev/dataplane-mode';

export type Labels = Readonly<Record<string, string>>;

/**
 * Whether a pod belongs in the mesh: its own label decides, else its namespace's. Any value but `ambient` means no,
 * so that a typing error could leave a pod only visibly outside, never half inside; the controller refuses manifests
 * with a value other than `ambient`, `observe` and `none` (controller/sources/checks.ts).
 */
export function isEnrolled(podLabels: Labels | undefined, namespaceLabels: Labels | undefined): boolean {
  return modeOf(podLabels, namespaceLabels) === 'ambient';
}

/** Whether a pod's connections are to be seen, and nothing else done with them; such a pod is outside the mesh (decision 0171). */
export function isObserved(podLabels: Labels | undefined, namespaceLabels: Labels | undefined): boolean {
  return modeOf(podLabels, namespaceLabels) === 'observe';
}

function modeOf(podLabels: Labels | undefined, namespaceLabels: Labels | undefined): string | undefined {
  return podLabels?.[DATAPLANE_MODE_LABEL] ?? namespaceLabels?.[DATAPLANE_MODE_LABEL];
}
