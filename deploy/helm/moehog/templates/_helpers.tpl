{{/* Names. Templates for one service take (dict "root" $ "service" "gateway"). */}}

{{- define "moehog.chartName" -}}
{{ .Values.nameOverride | default "moehog" }}
{{- end }}

{{/* What all names begin with: 40 characters, so that the longest suffix fits into a name. One that must be cut ends with
a hash of the whole, so that no two are cut to the same. */}}
{{- define "moehog.fullname" -}}
{{- $name := include "moehog.chartName" . -}}
{{- $name = .Values.fullnameOverride | default (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) -}}
{{- if gt (len $name) 40 -}}
{{- $name = printf "%s-%s" ($name | trunc 31 | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- end -}}
{{ $name }}
{{- end }}

{{- define "moehog.name" -}}
{{ include "moehog.fullname" .root }}-{{ .service }}
{{- end }}

{{- define "moehog.namespace" -}}
{{ .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{- define "moehog.selector" -}}
app.kubernetes.io/name: {{ include "moehog.chartName" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{/* Labels of an object: the recommended ones, which the schema refuses in any value, then `labels` of the dict over commonLabels. */}}
{{- define "moehog.labels" -}}
{{ include "moehog.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: moehog
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with merge dict (.labels | default dict) .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Metadata of an object. The dict may hold besides: `name`, where it is not the service's, `labels` and `annotations`. */}}
{{- define "moehog.metadata" -}}
name: {{ .name | default (include "moehog.name" .) }}
namespace: {{ include "moehog.namespace" .root }}
labels: {{- include "moehog.labels" . | nindent 2 }}
{{- with merge dict (.annotations | default dict) .root.Values.commonAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "moehog.accountName" -}}
{{ (index .root.Values .service).serviceAccount.name | default (include "moehog.name" .) }}
{{- end }}

{{- define "moehog.serviceAccount" -}}
{{- $account := (index .root.Values .service).serviceAccount -}}
{{- if $account.create -}}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "moehog.metadata" (merge (dict "name" (include "moehog.accountName" .) "annotations" $account.annotations) .) | nindent 2 }}
automountServiceAccountToken: {{ $account.automountToken }}
{{- end }}
{{- end }}

{{- define "moehog.disruptionBudget" -}}
{{- $budget := (index .root.Values .service).disruptionBudget -}}
{{- if $budget.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "moehog.metadata" . | nindent 2 }}
spec:
  {{- if $budget.minAvailable }}
  minAvailable: {{ $budget.minAvailable }}
  {{- else }}
  maxUnavailable: {{ $budget.maxUnavailable }}
  {{- end }}
  unhealthyPodEvictionPolicy: {{ $budget.unhealthyPodEvictionPolicy }}
  selector:
    matchLabels: {{- include "moehog.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* Name that workers are found by, and that their certificates are for. */}}
{{- define "moehog.workerHost" -}}
{{ include "moehog.name" . }}-headless.{{ include "moehog.namespace" .root }}.svc
{{- end }}

{{- define "moehog.adminPort" -}}
{{- get (dict "gateway" "9080" "transformer" "9081" "delivery" "9082") .service -}}
{{- end }}

{{- define "moehog.grpcPort" -}}
{{- get (dict "transformer" "50051" "delivery" "50052") .service -}}
{{- end }}

{{/* Address families of a Service. */}}
{{- define "moehog.families" -}}
{{- with .Values.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.ipFamilies }}
ipFamilies: {{ toJson . }}
{{- end }}
{{- end }}

{{/* Public names of an Ingress, as a list of { host, paths, tlsSecretName }. */}}
{{- define "moehog.ingressHosts" -}}
{{- $hosts := .Values.ingress.hosts -}}
{{- with .Values.ingress }}{{ if .host }}{{ $hosts = prepend $hosts (dict "host" .host "tlsSecretName" .tlsSecretName) }}{{ end }}{{ end -}}
{{ toYaml $hosts }}
{{- end }}

{{/* Public names of an HTTPRoute, as a list. */}}
{{- define "moehog.routeHosts" -}}
{{ with .Values.httpRoute }}{{ concat (list .hostname) .hostnames | compact | uniq | toJson }}{{ end }}
{{- end }}

{{/* A name that MoEngage posts to; empty when the chart knows none. */}}
{{- define "moehog.publicHost" -}}
{{- if .Values.ingress.enabled -}}
{{ (include "moehog.ingressHosts" . | fromYamlArray | first).host }}
{{- else if .Values.httpRoute.enabled -}}
{{ include "moehog.routeHosts" . | fromJsonArray | first }}
{{- end -}}
{{- end }}

{{/* A worker's Service: headless, since one gRPC connection behind a ClusterIP would call one pod for ever. */}}
{{- define "moehog.workerService" -}}
apiVersion: v1
kind: Service
metadata: {{- include "moehog.metadata" (merge (dict "name" (printf "%s-headless" (include "moehog.name" .)) "annotations" (index .root.Values .service).serviceAnnotations) .) | nindent 2 }}
spec:
  clusterIP: None
  {{- include "moehog.families" .root | replace "\n" "\n  " }}
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

{{/* Variables that the chart sets, then those of a service's env, which may hold none of the chart's. */}}
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
{{- if .root.Values.tls.enabled -}}
{{- /* the issuer may sign for others too */ -}}
{{- $gateway := include "moehog.workerHost" (dict "root" .root "service" "gateway") -}}
{{- $_ := set $env (printf "MOEHOG__%s__CALLERS" (upper .service)) (list $gateway | toJson) -}}
{{- end -}}
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
{{- include "moehog.refuseInTheFile" (dict "service" $here "name" $name) -}}
{{- $_ := set $env $name $value -}}
{{- end -}}
{{- range $name := keys $env | sortAlpha }}
{{- $value := get $env $name }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
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
{{- with .signature -}}{{- $keys = concat $keys (.secretKeys | default list) -}}{{- end -}}
{{- end -}}
{{- $keys = concat $keys .root.Values.api.tokenKeys -}}
{{- end -}}
{{ $keys | uniq | sortAlpha | join "," }}
{{- end }}

{{- define "moehog.podMetadata" -}}
{{- $service := index .root.Values .service -}}
labels: {{- include "moehog.labels" (merge (dict "labels" $service.podLabels) .) | nindent 2 }}
{{- $checksum := dict "checksum/config" (include "moehog.toml" .root | sha256sum) }}
annotations: {{- merge $checksum $service.podAnnotations .root.Values.commonAnnotations | toYaml | nindent 2 }}
{{- end }}

{{/* Everything of a pod's spec but the gateway's volume claim. */}}
{{- define "moehog.pod" -}}
{{- $service := index .root.Values .service -}}
{{- $secretKeys := include "moehog.secretKeys" . -}}
{{- $mapping := and (eq .service "transformer") .root.Values.mapping.files -}}
{{- $ca := and (eq .service "delivery") (include "moehog.posthogCa" .root) -}}
serviceAccountName: {{ include "moehog.accountName" . }}
automountServiceAccountToken: {{ $service.serviceAccount.automountToken }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $service.terminationGracePeriodSeconds }}
{{- with $service.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $service.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- include "moehog.pullSecrets" .root }}
{{- include "moehog.placement" $service }}
{{- with $service.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with $service.dnsConfig }}
dnsConfig: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $service.hostAliases }}
hostAliases: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
topologySpreadConstraints: {{- include "moehog.spread" . | trim | nindent 2 }}
{{- with $service.initContainers }}
initContainers: {{- tpl (toYaml .) $.root | nindent 2 }}
{{- end }}
containers:
  - name: {{ .service }}
    image: {{ include "moehog.image" . }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: [--config, /etc/moehog/config/moehog.toml]
    env: {{- include "moehog.env" . | trim | nindent 6 }}
    {{- with $service.envFrom }}
    envFrom: {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
      {{- if eq .service "gateway" }}
      - { name: http, containerPort: 8080 }
      {{- else }}
      - { name: grpc, containerPort: {{ include "moehog.grpcPort" . }} }
      {{- end }}
      - { name: admin, containerPort: {{ include "moehog.adminPort" . }} }
    startupProbe:
      httpGet: { path: /livez, port: admin }
      {{- toYaml $service.startupProbe | nindent 6 }}
    livenessProbe:
      httpGet: { path: /livez, port: admin }
      {{- toYaml $service.livenessProbe | nindent 6 }}
    readinessProbe:
      httpGet: { path: /readyz, port: admin }
      {{- toYaml $service.readinessProbe | nindent 6 }}
    lifecycle:
      preStop:
        sleep: { seconds: {{ .root.Values.preStopSeconds }} }
    resources: {{- toYaml $service.resources | nindent 6 }}
    securityContext: {{- toYaml .root.Values.securityContext | nindent 6 }}
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
      {{- if $ca }}
      - { name: posthog-ca, mountPath: /etc/moehog/posthog-ca, readOnly: true }
      {{- end }}
      {{- if eq .service "gateway" }}
      - { name: journal, mountPath: /data }
      {{- end }}
      - { name: tmp, mountPath: /tmp }
      {{- with $service.extraVolumeMounts }}
      {{- tpl (toYaml .) $.root | nindent 6 }}
      {{- end }}
  {{- with $service.extraContainers }}
  {{- tpl (toYaml .) $.root | nindent 2 }}
  {{- end }}
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
  {{- with and $ca .root.Values.posthog.ca }}
  - name: posthog-ca
    {{- if .secret }}
    secret:
      secretName: {{ .secret }}
      defaultMode: 288
      items: [{ key: {{ .key }}, path: {{ .key }} }]
    {{- else }}
    configMap:
      name: {{ .configMap }}
      items: [{ key: {{ .key }}, path: {{ .key }} }]
    {{- end }}
  {{- end }}
  - name: tmp
    emptyDir: { sizeLimit: 64Mi }
  {{- range $service.extraVolumes }}
  {{- if has .name (list "config" "secrets" "tls" "mapping" "posthog-ca" "journal" "tmp") }}
  {{- fail (printf "%s.extraVolumes: the chart has a volume %s: name yours otherwise" $.service .name) }}
  {{- end }}
  {{- tpl (toYaml (list .)) $.root | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Path of the file with the authorities that delivery trusts besides; empty without one. */}}
{{- define "moehog.posthogCa" -}}
{{- with .Values.posthog.ca -}}
{{- if or .secret .configMap }}/etc/moehog/posthog-ca/{{ .key }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "moehog.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Which nodes pods may be on, by the values of a service. */}}
{{- define "moehog.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* How a service's pods spread: as its values say, else over zones and nodes. */}}
{{- define "moehog.spread" -}}
{{- $constraints := (index .root.Values .service).topologySpreadConstraints -}}
{{- if not $constraints -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" -}}
{{- $constraint := dict "maxSkew" 1 "topologyKey" $key "whenUnsatisfiable" $.root.Values.spread -}}
{{- /* only a Deployment gives its pods this label; with it, the pods of a rollout do not count those they replace */ -}}
{{- if ne $.service "gateway" -}}{{- $_ := set $constraint "matchLabelKeys" (list "pod-template-hash") -}}{{- end -}}
{{- $constraints = append $constraints $constraint -}}
{{- end -}}
{{- end -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "moehog.selector" . | fromYaml)) -}}
{{- range $constraints }}
{{ list (hasKey . "labelSelector" | ternary . (merge (dict) . $own)) | toYaml }}
{{- end }}
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
