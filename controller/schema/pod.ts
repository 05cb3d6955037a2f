import { metadata, PORT, topLevel } from './core.ts';
import {
  BOOLEAN,
  fields,
  INT_OR_STRING,
  INTEGER,
  list,
  mapOf,
  OPAQUE,
  oneOf,
  QUANTITY,
  record,
  type Schema,
  STRING,
  text,
} from './dsl.ts';

// Field names: Kubernetes API v1 (1.34), Pod. Parts that only a kubelet reads are closed one level deep at the most.

const KEY_SELECTOR = record({ ...fields(STRING, 'name key'), optional: BOOLEAN }, ['key']);

const ENV = record(
  {
    ...fields(STRING, 'name value'),
    valueFrom: record({
      fieldRef: record(fields(STRING, 'apiVersion fieldPath'), ['fieldPath']),
      resourceFieldRef: record({ ...fields(STRING, 'containerName resource'), divisor: QUANTITY }, [
        'resource',
      ]),
      configMapKeyRef: KEY_SELECTOR,
      secretKeyRef: KEY_SELECTOR,
      fileKeyRef: OPAQUE,
    }),
  },
  ['name'],
);

const ENV_FROM = record({
  prefix: STRING,
  configMapRef: record({ name: STRING, optional: BOOLEAN }),
  secretRef: record({ name: STRING, optional: BOOLEAN }),
});

const ACTION: Record<string, Schema> = {
  exec: record({ command: list(STRING) }),
  httpGet: record(
    {
      ...fields(STRING, 'path host scheme'),
      port: INT_OR_STRING,
      httpHeaders: list(record(fields(STRING, 'name value'), ['name', 'value'])),
    },
    ['port'],
  ),
  tcpSocket: record({ host: STRING, port: INT_OR_STRING }, ['port']),
};

const PROBE = record({
  ...ACTION,
  grpc: record({ port: PORT, service: STRING }, ['port']),
  ...fields(
    INTEGER,
    'initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold terminationGracePeriodSeconds',
  ),
});

const HANDLER = record({ ...ACTION, sleep: record({ seconds: INTEGER }) });

const RESOURCES = record({
  limits: mapOf(QUANTITY),
  requests: mapOf(QUANTITY),
  claims: list(record(fields(STRING, 'name request'), ['name'])),
});

const SECURITY_COMMON: Record<string, Schema> = {
  ...fields(INTEGER, 'runAsUser runAsGroup'),
  runAsNonRoot: BOOLEAN,
  ...fields(OPAQUE, 'seLinuxOptions windowsOptions seccompProfile appArmorProfile'),
};

const CONTAINER_FIELDS: Record<string, Schema> = {
  name: text('dns-label'),
  image: STRING,
  imagePullPolicy: oneOf('Always', 'IfNotPresent', 'Never'),
  command: list(STRING),
  args: list(STRING),
  workingDir: STRING,
  env: list(ENV),
  envFrom: list(ENV_FROM),
  ports: list(
    record(
      {
        name: text('port-name'),
        containerPort: PORT,
        hostPort: PORT,
        hostIP: STRING,
        protocol: oneOf('TCP', 'UDP', 'SCTP'),
      },
      ['containerPort'],
    ),
  ),
  resources: RESOURCES,
  resizePolicy: list(OPAQUE),
  restartPolicy: oneOf('Always', 'OnFailure', 'Never'),
  restartPolicyRules: list(OPAQUE),
  volumeMounts: list(
    record(
      {
        ...fields(STRING, 'name mountPath subPath subPathExpr mountPropagation recursiveReadOnly'),
        readOnly: BOOLEAN,
      },
      ['name', 'mountPath'],
    ),
  ),
  volumeDevices: list(record(fields(STRING, 'name devicePath'), ['name', 'devicePath'])),
  livenessProbe: PROBE,
  readinessProbe: PROBE,
  startupProbe: PROBE,
  lifecycle: record({ postStart: HANDLER, preStop: HANDLER, stopSignal: STRING }),
  securityContext: record({
    ...SECURITY_COMMON,
    ...fields(BOOLEAN, 'privileged allowPrivilegeEscalation readOnlyRootFilesystem'),
    capabilities: record({ add: list(STRING), drop: list(STRING) }),
    procMount: STRING,
  }),
  ...fields(STRING, 'terminationMessagePath terminationMessagePolicy'),
  ...fields(BOOLEAN, 'stdin stdinOnce tty'),
};

const CONTAINER = record(CONTAINER_FIELDS, ['name']);

const VOLUME = record(
  {
    name: text('dns-label'),
    ...fields(
      OPAQUE,
      `awsElasticBlockStore azureDisk azureFile cephfs cinder configMap csi downwardAPI emptyDir ephemeral fc
       flexVolume flocker gcePersistentDisk gitRepo glusterfs hostPath image iscsi nfs persistentVolumeClaim
       photonPersistentDisk portworxVolume projected quobyte rbd scaleIO secret storageos vsphereVolume`,
    ),
  },
  ['name'],
);

export const POD: Schema = topLevel(
  metadata('subdomain', true),
  {
    spec: record(
      {
        containers: list(CONTAINER, 1),
        initContainers: list(CONTAINER),
        ephemeralContainers: list(record({ ...CONTAINER_FIELDS, targetContainerName: STRING }, ['name'])),
        volumes: list(VOLUME),
        nodeName: text('subdomain'),
        nodeSelector: mapOf(STRING, 'qualified-name'),
        ...fields(text('subdomain'), 'serviceAccountName serviceAccount'),
        ...fields(
          BOOLEAN,
          `automountServiceAccountToken hostNetwork hostPID hostIPC hostUsers shareProcessNamespace
           enableServiceLinks setHostnameAsFQDN`,
        ),
        ...fields(INTEGER, 'terminationGracePeriodSeconds activeDeadlineSeconds priority'),
        ...fields(
          STRING,
          'hostname hostnameOverride subdomain schedulerName priorityClassName runtimeClassName preemptionPolicy',
        ),
        restartPolicy: oneOf('Always', 'OnFailure', 'Never'),
        dnsPolicy: oneOf('ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'),
        dnsConfig: record({
          nameservers: list(STRING),
          searches: list(STRING),
          options: list(record(fields(STRING, 'name value'))),
        }),
        hostAliases: list(record({ ip: text('ip'), hostnames: list(STRING) }, ['ip'])),
        imagePullSecrets: list(record({ name: STRING })),
        affinity: record(fields(OPAQUE, 'nodeAffinity podAffinity podAntiAffinity')),
        tolerations: list(
          record({ ...fields(STRING, 'key operator value effect'), tolerationSeconds: INTEGER }),
        ),
        topologySpreadConstraints: list(OPAQUE),
        readinessGates: list(record({ conditionType: STRING })),
        schedulingGates: list(record({ name: STRING })),
        resourceClaims: list(OPAQUE),
        resources: RESOURCES,
        overhead: mapOf(QUANTITY),
        os: record({ name: oneOf('linux', 'windows') }),
        securityContext: record({
          ...SECURITY_COMMON,
          ...fields(INTEGER, 'fsGroup'),
          ...fields(STRING, 'fsGroupChangePolicy supplementalGroupsPolicy seLinuxChangePolicy'),
          supplementalGroups: list(INTEGER),
          sysctls: list(record(fields(STRING, 'name value'))),
        }),
      },
      ['containers'],
    ),
    status: record(
      {
        phase: oneOf('Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'),
        podIP: text('ip'),
        podIPs: list(record({ ip: text('ip') }, ['ip'])),
        conditions: list(
          record(fields(STRING, 'type status'), ['type', 'status'], { additionalProperties: true }),
        ),
      },
      [],
      { additionalProperties: true },
    ),
  },
  ['spec'],
);
