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
