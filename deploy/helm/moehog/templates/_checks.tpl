{{/* What a schema cannot say. */}}
{{- define "moehog.check" -}}
{{- $destinations := list -}}
{{- range .Values.destinations -}}
{{- if has .name $destinations -}}{{- fail (printf "destinations: two are named %s" .name) -}}{{- end -}}
{{- $destinations = append $destinations .name -}}
{{- end -}}
{{- $sources := list -}}
{{- range .Values.sources -}}
{{- if has .name $sources -}}{{- fail (printf "sources: two are named %s" .name) -}}{{- end -}}
{{- if eq .name "capture" -}}{{- fail "sources: the name capture is taken by the capture paths" -}}{{- end -}}
{{- if not (has .destination $destinations) -}}{{- fail (printf "sources: %s goes to %s, which destinations does not name" .name .destination) -}}{{- end -}}
{{- $source := .name -}}
{{- range .routes -}}
{{- if not (has . $destinations) -}}{{- fail (printf "sources: %s may send to %s, which destinations does not name" $source .) -}}{{- end -}}
{{- end -}}
{{- if not (or .tokenKeys .basic .signature .from) -}}{{- fail (printf "sources: %s has no tokenKeys, basic, signature or from, so nobody could send to it" .name) -}}{{- end -}}
{{- if and .signature (not (and .signature.secretKeys .signature.header)) -}}
{{- fail (printf "sources: the signature of %s needs secretKeys, the keys of existingSecret that sign, and header, where it stands" .name) -}}
{{- end -}}
{{- if and $.Values.tests.enabled (eq .name $.Values.tests.source) .signature -}}
{{- fail (printf "tests.source: `helm test` signs nothing, and %s asks for a signature: name another source, or set tests.enabled to false" .name) -}}
{{- end -}}
{{- if and $.Values.tests.enabled (eq .name $.Values.tests.source) (not .tokenKeys) -}}
{{- fail (printf "tests.source: `helm test` sends a token: give %s tokenKeys, name another source, or set tests.enabled to false" .name) -}}
{{- end -}}
{{- $sources = append $sources .name -}}
{{- end -}}
{{- if and .Values.tests.enabled (not (has .Values.tests.source $sources)) -}}
{{- fail (printf "tests.source: sources does not name %s" .Values.tests.source) -}}
{{- end -}}
{{- if and .Values.tests.enabled (not .Values.api.tokenKeys) -}}
{{- fail "api.tokenKeys: `helm test` asks the admin API for what becomes of its event: name a key, or set tests.enabled to false" -}}
{{- end -}}
{{- range $service := list "transformer" "delivery" -}}
{{- $scaling := (index $.Values $service).autoscaling -}}
{{- if gt ($scaling.minReplicas | int64) ($scaling.maxReplicas | int64) -}}
{{- fail (printf "%s.autoscaling: minReplicas %d is more than maxReplicas %d" $service ($scaling.minReplicas | int64) ($scaling.maxReplicas | int64)) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.delivery.autoscaling.mode "keda") (not .Values.delivery.autoscaling.keda.serverAddress) -}}
{{- fail "delivery.autoscaling.keda.serverAddress: where is the Prometheus that scrapes the gateways? As in http://prometheus.monitoring:9090" -}}
{{- end -}}
{{- if and .Values.posthog.ca.secret .Values.posthog.ca.configMap -}}
{{- fail "posthog.ca: the authority is in a secret or in a configMap, not in both: leave one empty" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- fail "metrics: serviceMonitor and podMonitor would scrape each pod twice: enable one of them" -}}
{{- end -}}
{{- if and .Values.mapping.files (not (hasKey .Values.mapping.files "mapping.toml")) -}}
{{- fail (printf "mapping.files: %s is read by none: the mapping is mapping.toml, which may name others" (keys .Values.mapping.files | sortAlpha | join ", ")) -}}
{{- end -}}
{{- include "moehog.checkPostHogIsReached" . -}}
{{- if and .Values.ingress.enabled (not (or .Values.ingress.host .Values.ingress.hosts)) -}}{{- fail "ingress.host: the public name that MoEngage posts to" -}}{{- end -}}
{{- $route := .Values.httpRoute -}}
{{- if and $route.enabled (not (and (or $route.hostname $route.hostnames) (or $route.parentRef.name $route.parentRefs))) -}}
{{- fail "httpRoute: hostname and parentRef.name are needed" -}}
{{- end -}}
{{- end }}

{{/* The policies let delivery reach port 443 of public addresses, and what networkPolicy.posthog names. */}}
{{- define "moehog.checkPostHogIsReached" -}}
{{- $policy := .Values.networkPolicy.posthog -}}
{{- $named := or $policy.namespaces $policy.cidrs -}}
{{- if and .Values.networkPolicy.enabled (not $named) -}}
{{- if ne ($policy.port | int64) 443 -}}
{{- fail (printf "networkPolicy.posthog.port: port %d of nothing: name in namespaces or cidrs where that PostHog or proxy is" ($policy.port | int64)) -}}
{{- end -}}
{{- $hosts := dict "posthog.host" .Values.posthog.host -}}
{{- range .Values.destinations -}}
{{- if .host -}}{{- $_ := set $hosts (printf "the host of destination %s" .name) .host -}}{{- end -}}
{{- end -}}
{{- range $value, $url := $hosts -}}
{{- $host := (urlParse $url).host -}}
{{- $port := regexFind ":[0-9]+$" $host | trimPrefix ":" | default (ternary "443" "80" (hasPrefix "https://" $url)) -}}
{{- if ne $port "443" -}}
{{- fail (printf "%s: %s is at port %s, and the network policies let delivery reach port 443 of public addresses only: name where it is in networkPolicy.posthog.namespaces or cidrs, and its port" $value $url $port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What an upgrade cannot change is held against what runs, so that it is refused before anything is written. */}}
{{- define "moehog.checkWhatRuns" -}}
{{- range $service := list "gateway" "transformer" "delivery" -}}
{{- $this := dict "root" $ "service" $service -}}
{{- $found := include "moehog.liveWorkload" $this | fromJson -}}
{{- $live := $found.object -}}
{{- if and (eq $service "gateway") $found.others -}}
{{- fail (printf "fullnameOverride, nameOverride: the release runs the gateways %s, and under the name %s they would begin with empty journals: set the overrides as they were, or empty the journals first: \"Scale in\" in deploy/README.md says how; nothing was written" (join ", " $found.others) (include "moehog.name" $this)) -}}
{{- end -}}
{{- $selector := include "moehog.selector" $this | fromYaml -}}
{{- $selects := dig "spec" "selector" "matchLabels" $selector $live -}}
{{- if ne (toJson $selects) (toJson $selector) -}}
{{- $name := get $selects "app.kubernetes.io/name" -}}
{{- fail (printf "nameOverride: the pods of %s are named %s, and an upgrade cannot rename them: set it to %s, or install under another release name; nothing was written" (include "moehog.name" $this) $name $name) -}}
{{- end -}}
{{- if eq $service "gateway" -}}
{{- $claims := (include "moehog.journalClaims" $ | fromJson).claims -}}
{{- include "moehog.refuseJournal" (dict "journal" $.Values.gateway.journal "live" $live "claims" $claims) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Takes {journal, live, claims}: the values, the StatefulSet that runs, {} without, and the claims that are there. */}}
{{- define "moehog.refuseJournal" -}}
{{- $journal := .journal -}}
{{- $resize := "\"Resize\" in deploy/README.md says how; nothing was written" -}}
{{- $live := dict -}}
{{- $metadata := dict -}}
{{- range dig "spec" "volumeClaimTemplates" list .live -}}
{{- if eq .metadata.name "journal" -}}{{- $live = .spec -}}{{- $metadata = .metadata -}}{{- end -}}
{{- end -}}
{{- if $live -}}
{{- $size := dig "resources" "requests" "storage" "" $live -}}
{{- if ne (include "moehog.bytes" $size) (include "moehog.bytes" $journal.size) -}}
{{- fail (printf "gateway.journal.size: the gateways have claims for %s, and an upgrade cannot make them %s: set it to %s, or change the claims first: %s" $size $journal.size $size $resize) -}}
{{- end -}}
{{- $class := get $live "storageClassName" | default "" -}}
{{- if ne $class $journal.storageClass -}}
{{- fail (printf "gateway.journal.storageClass: the gateways have claims of %q, and an upgrade cannot move them to %q: set it to %q, or replace the claims first: %s" $class $journal.storageClass $class $resize) -}}
{{- end -}}
{{- $mode := first $live.accessModes -}}
{{- if ne $mode $journal.accessMode -}}
{{- fail (printf "gateway.journal.accessMode: the gateways have claims of %s, and an upgrade cannot make them %s: set it to %s, or replace the claims first: %s" $mode $journal.accessMode $mode $resize) -}}
{{- end -}}
{{- $labels := omit ($metadata.labels | default dict) "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" -}}
{{- range $key, $has := dict "labels" $labels "annotations" ($metadata.annotations | default dict) -}}
{{- if ne (toJson $has) (toJson (get $journal $key)) -}}
{{- fail (printf "gateway.journal.%s: the gateways have claims with %s, and an upgrade cannot give them others: set it to these; to change them, delete the StatefulSet as for a new size: %s" $key (toJson $has) $resize) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- range .claims -}}
{{- $asked := include "moehog.bytes" .asked | int64 -}}
{{- if and (gt $asked 0) (lt $asked (include "moehog.bytes" $journal.size | int64)) -}}
{{- fail (printf "gateway.journal.size: the claim %s is there already and asks for %s, so it does not become %s: set it to %s, or let the claim grow first: %s" .name .asked $journal.size .asked $resize) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
