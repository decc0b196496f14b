{{/* Names. Templates for one service take (dict "root" $ "service" "gateway"). */}}

{{- define "moehog.fullname" -}}
{{- $name := contains "moehog" .Release.Name | ternary .Release.Name (printf "%s-moehog" .Release.Name) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "moehog.name" -}}
{{ include "moehog.fullname" .root }}-{{ .service }}
{{- end }}

{{- define "moehog.selector" -}}
app.kubernetes.io/name: moehog
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{- define "moehog.labels" -}}
{{ include "moehog.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: moehog
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "moehog.metadata" -}}
name: {{ include "moehog.name" . }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "moehog.labels" . | nindent 2 }}
{{- end }}

{{- define "moehog.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "moehog.metadata" . | nindent 2 }}
automountServiceAccountToken: false
{{- end }}

{{- define "moehog.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "moehog.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "moehog.selector" . | nindent 6 }}
{{- end }}

{{/* Name that workers are found by, and that their certificates are for. */}}
{{- define "moehog.workerHost" -}}
{{ include "moehog.name" . }}-headless.{{ .root.Release.Namespace }}.svc
{{- end }}

{{- define "moehog.adminPort" -}}
{{- get (dict "gateway" "9080" "transformer" "9081" "delivery" "9082") .service -}}
{{- end }}

{{- define "moehog.grpcPort" -}}
{{- get (dict "transformer" "50051" "delivery" "50052") .service -}}
{{- end }}

{{/* A worker's Service: headless, since one gRPC connection behind a ClusterIP would call one pod for ever. */}}
{{- define "moehog.workerService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "moehog.name" . }}-headless
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "moehog.labels" . | nindent 4 }}
  {{- with (index .root.Values .service).serviceAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  clusterIP: None
  selector: {{- include "moehog.selector" . | nindent 4 }}
  ports:
    # names lead to pods, not to a proxy: port and targetPort are one
    - { name: grpc, port: {{ include "moehog.grpcPort" . }}, targetPort: {{ include "moehog.grpcPort" . }}, appProtocol: {{ .root.Values.tls.enabled | ternary "https" "kubernetes.io/h2c" }} }
    - { name: admin, port: {{ include "moehog.adminPort" . }}, targetPort: {{ include "moehog.adminPort" . }}, appProtocol: http }
{{- end }}

{{- define "moehog.image" -}}
{{- $image := .root.Values.image -}}
{{- $digest := get $image.digests .service -}}
{{- $name := eq .service "cli" | ternary "moehog" (printf "moehog-%s" .service) -}}
{{- $at := $digest | empty | ternary (printf ":%s" ($image.tag | default .root.Chart.AppVersion)) (printf "@%s" $digest) -}}
{{ $image.registry | trimSuffix "/" }}/{{ $name }}{{ $at }}
{{- end }}

{{/* Worker threads: the requested CPUs, rounded up, at least 2. Left alone, a process takes as many as the node has cores. */}}
{{- define "moehog.threads" -}}
{{- $cpu := (index .root.Values .service).resources.requests.cpu | toString -}}
{{- $cores := 0 -}}
{{- if hasSuffix "m" $cpu -}}
{{- $cores = div (add (trimSuffix "m" $cpu | int64) 999) 1000 -}}
{{- else -}}
{{- $cores = ceil ($cpu | float64) | int64 -}}
{{- end -}}
{{ max 2 $cores }}
{{- end }}

{{/* Seconds that the process's own stop may take: what the kubelet grants, less preStop, less 10 for the last spans and the exit. */}}
{{- define "moehog.grace" -}}
{{- $granted := (index .root.Values .service).terminationGracePeriodSeconds | int64 -}}
{{- $left := sub (sub $granted (.root.Values.preStopSeconds | int64)) 10 -}}
{{- if lt $left 10 -}}
{{- fail (printf "%s.terminationGracePeriodSeconds: %d leaves %d s for the stop after preStopSeconds and 10; at least 10 are needed, so %d or more" .service $granted $left (sub (add $granted 10) $left)) -}}
{{- end -}}
{{ $left }}
{{- end }}

{{/* Variables that the chart sets, as a list of name and value; a service's env may hold none of these. */}}
{{- define "moehog.env" -}}
{{- $service := index .root.Values .service -}}
{{- $env := dict "TOKIO_WORKER_THREADS" (include "moehog.threads" .) -}}
{{- $_ := set $env "MOEHOG__ADMIN__LISTEN" (printf "%s:%s" .root.Values.listenHost (include "moehog.adminPort" .)) -}}
{{- $_ := set $env "MOEHOG__SHUTDOWN__GRACE" (printf "%ss" (include "moehog.grace" .)) -}}
{{- if eq .service "gateway" -}}
{{- $_ := set $env "MOEHOG__RELAY__GRACE" (printf "%ds" (sub (include "moehog.grace" . | int64) 5)) -}}
{{- range $name := list "transformer" "delivery" -}}
{{- $worker := dict "root" $.root "service" $name -}}
{{- $host := include "moehog.workerHost" $worker -}}
{{- $_ := set $env (printf "MOEHOG__%s__ADDRESS" (upper $name)) (printf "dns://%s:%s" $host (include "moehog.grpcPort" $worker)) -}}
{{- if $.root.Values.tls.enabled -}}
{{- $_ := set $env (printf "MOEHOG__%s__SERVER_NAME" (upper $name)) $host -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $_ := set $env "MOEHOG__GRPC__LISTEN" (printf "%s:%s" .root.Values.listenHost (include "moehog.grpcPort" .)) -}}
{{- end -}}
{{- with .root.Values.otel.endpoint -}}
{{- $_ := set $env "OTEL_EXPORTER_OTLP_ENDPOINT" . -}}
{{- end -}}
{{- range $name, $value := .root.Values.otel.variables -}}
{{- if hasKey $env $name -}}{{- fail (printf "otel.variables.%s is set by the chart" $name) -}}{{- end -}}
{{- $_ := set $env $name $value -}}
{{- end -}}
{{- $own := concat (keys $env) (list "OTEL_RESOURCE_ATTRIBUTES" "POD_NAME" "POD_NAMESPACE" "POD_UID" "NODE_NAME") -}}
{{- $here := .service -}}
{{- range $name, $value := $service.env -}}
{{- if has $name $own -}}{{- fail (printf "%s.env.%s is set by the chart" $here $name) -}}{{- end -}}
{{- $_ := set $env $name $value -}}
{{- end -}}
{{- range $name := keys $env | sortAlpha }}
- name: {{ $name }}
  value: {{ get $env $name | quote }}
{{- end }}
{{- range $name, $field := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_UID" "metadata.uid" "NODE_NAME" "spec.nodeName" }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $field }}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ include "moehog.resourceAttributes" .root | quote }}
{{- end }}

{{- define "moehog.resourceAttributes" -}}
service.namespace=$(POD_NAMESPACE),service.instance.id=$(POD_UID),service.version={{ .Chart.AppVersion }}
{{- "" }},k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),k8s.pod.uid=$(POD_UID),k8s.node.name=$(NODE_NAME)
{{- range $name, $value := .Values.otel.resourceAttributes }},{{ $name }}={{ $value }}{{ end }}
{{- end }}

{{/* Keys of existingSecret that a service reads: delivery none of the tokens, the transformer the one to hash with. */}}
{{- define "moehog.secretKeys" -}}
{{- $keys := list -}}
{{- if has .service (list "gateway" "delivery") -}}
{{- range .root.Values.destinations -}}{{- $keys = append $keys .apiKeyKey -}}{{- end -}}
{{- end -}}
{{- if and (eq .service "transformer") .root.Values.mapping.hashKey -}}
{{- $keys = append $keys .root.Values.mapping.hashKey -}}
{{- end -}}
{{- if eq .service "gateway" -}}
{{- range .root.Values.sources -}}
{{- $keys = concat $keys .tokenKeys -}}
{{- range .basic -}}{{- $keys = append $keys .passwordKey -}}{{- end -}}
{{- end -}}
{{- $keys = concat $keys .root.Values.api.tokenKeys -}}
{{- end -}}
{{ $keys | uniq | sortAlpha | join "," }}
{{- end }}

{{- define "moehog.podMetadata" -}}
labels: {{- include "moehog.labels" . | nindent 2 }}
annotations:
  checksum/config: {{ include "moehog.toml" .root | sha256sum }}
  {{- with (index .root.Values .service).podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Everything of a pod's spec but the gateway's volume claim. */}}
{{- define "moehog.pod" -}}
{{- $service := index .root.Values .service -}}
{{- $secretKeys := include "moehog.secretKeys" . -}}
{{- $mapping := and (eq .service "transformer") .root.Values.mapping.files -}}
serviceAccountName: {{ include "moehog.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $service.terminationGracePeriodSeconds }}
{{- with $service.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $service.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $service.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "moehog.podSecurity" . | nindent 2 }}
topologySpreadConstraints:
  {{- $here := . }}
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $here.root.Values.spread }}
    labelSelector:
      matchLabels: {{- include "moehog.selector" $here | nindent 8 }}
    {{- if ne $here.service "gateway" }}
    matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
containers:
  - name: {{ .service }}
    image: {{ include "moehog.image" . }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: [--config, /etc/moehog/config/moehog.toml]
    env: {{- include "moehog.env" . | trim | nindent 6 }}
    ports:
      {{- if eq .service "gateway" }}
      - { name: http, containerPort: 8080 }
      {{- else }}
      - { name: grpc, containerPort: {{ include "moehog.grpcPort" . }} }
      {{- end }}
      - { name: admin, containerPort: {{ include "moehog.adminPort" . }} }
    {{- if eq .service "gateway" }}
    # it opens its journal before it answers: up to 5 minutes
    {{- end }}
    startupProbe:
      httpGet: { path: /livez, port: admin }
      periodSeconds: 2
      failureThreshold: {{ eq .service "gateway" | ternary 150 30 }}
    livenessProbe:
      httpGet: { path: /livez, port: admin }
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 3
    readinessProbe:
      httpGet: { path: /readyz, port: admin }
      periodSeconds: 2
      timeoutSeconds: 2
      failureThreshold: 2
    lifecycle:
      preStop:
        sleep: { seconds: {{ .root.Values.preStopSeconds }} }
    resources: {{- toYaml $service.resources | nindent 6 }}
    securityContext: {{- include "moehog.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - { name: config, mountPath: /etc/moehog/config, readOnly: true }
      {{- if $secretKeys }}
      - { name: secrets, mountPath: /etc/moehog/secrets, readOnly: true }
      {{- end }}
      {{- if .root.Values.tls.enabled }}
      - { name: tls, mountPath: /etc/moehog/tls, readOnly: true }
      {{- end }}
      {{- if $mapping }}
      - { name: mapping, mountPath: /etc/moehog/mapping, readOnly: true }
      {{- end }}
      {{- if eq .service "gateway" }}
      - { name: journal, mountPath: /data }
      {{- end }}
      - { name: tmp, mountPath: /tmp }
volumes:
  - name: config
    configMap:
      name: {{ include "moehog.fullname" .root }}-config
  {{- if $secretKeys }}
  - name: secrets
    secret:
      secretName: {{ .root.Values.existingSecret }}
      defaultMode: 288
      items:
        {{- range splitList "," $secretKeys }}
        - { key: {{ . }}, path: {{ . }} }
        {{- end }}
  {{- end }}
  {{- if .root.Values.tls.enabled }}
  - name: tls
    secret:
      secretName: {{ include "moehog.name" . }}-tls
      defaultMode: 288
  {{- end }}
  {{- if $mapping }}
  - name: mapping
    configMap:
      name: {{ include "moehog.fullname" .root }}-mapping
  {{- end }}
  - name: tmp
    emptyDir: { sizeLimit: 64Mi }
{{- end }}

{{- define "moehog.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "moehog.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Peers of a NetworkPolicy rule: namespaces by name, ranges. */}}
{{- define "moehog.peers" -}}
{{- $peers := list -}}
{{- range .namespaces -}}
{{- $peers = append $peers (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .))) -}}
{{- end -}}
{{- range .cidrs -}}
{{- $peers = append $peers (dict "ipBlock" (dict "cidr" .)) -}}
{{- end -}}
{{- if $peers -}}{{ toYaml $peers }}{{- end -}}
{{- end }}
