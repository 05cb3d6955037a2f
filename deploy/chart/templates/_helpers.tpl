{{/* Labels of every object of a program; the argument is the program. */}}
{{- define "loam.labels" -}}
app.kubernetes.io/name: loam-{{ . }}
app.kubernetes.io/part-of: loam
{{- end }}

{{/* Labels of our own pods, which are never enrolled. */}}
{{- define "loam.podLabels" -}}
{{ include "loam.labels" . }}
loam.dev/dataplane-mode: none
{{- end }}

{{/* By which a Prometheus that looks for it finds the metrics. */}}
{{- define "loam.scraped" -}}
prometheus.io/scrape: "true"
prometheus.io/port: "15020"
prometheus.io/path: /metrics
{{- end }}

{{- define "loam.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Image and start of a program: no inspector by a signal, and stack traces that name the sources. */}}
{{- define "loam.container" -}}
name: {{ .program }}
image: {{ .root.Values.image | quote }}
imagePullPolicy: {{ .root.Values.imagePullPolicy }}
command:
  - /usr/local/bin/node
  - --disable-sigusr1
  - --enable-source-maps
  - /app/dist/{{ .program }}/main.js
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* A container that writes nothing into its image and gains nothing; the argument is the list of its capabilities. */}}
{{- define "loam.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- with . }}
  add:
    {{- toYaml . | nindent 4 }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Of the node's programs: root, since what they open is root's, and out of AppArmor's and SELinux's profiles for containers. */}}
{{- define "loam.onNode" -}}
{{ include "loam.confined" . }}
runAsUser: 0
runAsGroup: 0
appArmorProfile:
  type: Unconfined
seLinuxOptions:
  type: spc_t
{{- end }}

{{- define "loam.nodeName" -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: spec.nodeName
{{- end }}
