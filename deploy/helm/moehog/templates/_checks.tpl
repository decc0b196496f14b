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
{{- if not (or .tokenKeys .basic .from) -}}{{- fail (printf "sources: %s has no tokenKeys, basic or from, so nobody could send to it" .name) -}}{{- end -}}
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
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}{{- fail "ingress.host: the public name that MoEngage posts to" -}}{{- end -}}
{{- if and .Values.httpRoute.enabled (not (and .Values.httpRoute.hostname .Values.httpRoute.parentRef.name)) -}}
{{- fail "httpRoute: hostname and parentRef.name are needed" -}}
{{- end -}}
{{- end }}

{{/* What a StatefulSet can never change, held against the one that runs; and a size against the claims that a new one would find. */}}
{{- define "moehog.checkJournal" -}}
{{- $gateway := dict "root" . "service" "gateway" -}}
{{- $live := (include "moehog.liveWorkload" $gateway | fromJson).object -}}
{{- $claims := (include "moehog.journalClaims" . | fromJson).claims -}}
{{- include "moehog.refuseJournal" (dict "journal" .Values.gateway.journal "live" $live "claims" $claims) -}}
{{- end }}

{{/* Takes {journal, live, claims}: the values, the StatefulSet that runs, {} without, and the claims that are there. */}}
{{- define "moehog.refuseJournal" -}}
{{- $journal := .journal -}}
{{- $resize := "\"Resize\" in deploy/README.md says how; nothing was written" -}}
{{- $live := dict -}}
{{- range dig "spec" "volumeClaimTemplates" list .live -}}
{{- if eq .metadata.name "journal" -}}{{- $live = .spec -}}{{- end -}}
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
{{- else -}}
{{- range .claims -}}
{{- $asked := include "moehog.bytes" .asked | int64 -}}
{{- if and (gt $asked 0) (lt $asked (include "moehog.bytes" $journal.size | int64)) -}}
{{- fail (printf "gateway.journal.size: the claim %s is there already and asks for %s, so it does not become %s: set it to %s, or let the claim grow first: %s" .name .asked $journal.size .asked $resize) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
