/** What every object of the API has, as far as Loam looks. */
export interface KubeMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface KubeResource {
  readonly metadata: KubeMetadata;
}

/** `namespace/name`, or `name` of what is in no namespace. */
export function resourceKey({ metadata: { namespace, name } }: KubeResource): string {
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}

/** Whether a piece of JSON can be told from others: it has a name. */
export function isResource(value: unknown): value is KubeResource {
  if (!isRecord(value) || !isRecord(value['metadata'])) return false;
  const { name, namespace } = value['metadata'];
  return (
    typeof name === 'string' && name !== '' && (namespace === undefined || typeof namespace === 'string')
  );
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
