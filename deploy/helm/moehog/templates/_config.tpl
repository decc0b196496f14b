{{/* The file that all services read; each takes the sections it knows. What is one service's alone under a name that
others have too (ports, times of stopping, where the workers are) stands in the pods' variables. */}}
{{- define "moehog.toml" -}}
{{- include "moehog.check" . -}}
[http]
listen = {{ printf "%s:8080" .Values.listenHost | quote }}
{{- with .Values.trustedProxies }}
trusted_proxies = {{ toJson . }}
{{- end }}

[api]
tokens = [{{ include "moehog.files" .Values.api.tokenKeys }}]

[journal]
dir = "/data/journal"
budget_bytes = {{ include "moehog.budget" . }}
retention = {{ .Values.gateway.journal.retention | quote }}
dead_letter_retention = {{ .Values.gateway.journal.deadLetterRetention | quote }}
{{ if .Values.tls.enabled }}
[tls]
cert = "/etc/moehog/tls/tls.crt"
key = "/etc/moehog/tls/tls.key"
ca = "/etc/moehog/tls/ca.crt"
{{ end }}
[mapping]
keep_push_tokens = {{ .Values.mapping.keepPushTokens }}
{{- with .Values.mapping.hashKey }}
hash_key = { file = "/etc/moehog/secrets/{{ . }}" }
{{- end }}
{{- if hasKey .Values.mapping.files "mapping.toml" }}
file = "/etc/moehog/mapping/mapping.toml"
{{- end }}

[posthog]
host = {{ .Values.posthog.host | quote }}
verify_key = {{ .Values.posthog.verifyKey }}
{{- with .Values.posthog.api }}
api = {{ . | quote }}
{{- end }}
{{- with include "moehog.posthogCa" . }}
ca_file = {{ . | quote }}
{{- end }}

[telemetry]
log = {{ .Values.log.level | quote }}
format = {{ .Values.log.format | quote }}
{{ range $source := .Values.sources }}
[sources.{{ .name | quote }}]
destination = {{ .destination | quote }}
{{- with .routes }}
routes = {{ toJson . }}
{{- end }}
header = {{ include "moehog.header" . | quote }}
tokens = [{{ include "moehog.files" .tokenKeys }}]
{{- with .basic }}
basic = [{{ include "moehog.users" . }}]
{{- end }}
{{- with .signature }}
signature = { secrets = [{{ include "moehog.files" .secretKeys }}], header = {{ .header | quote }}
{{- range $name := list "prefix" "timestamp" "tolerance" }}{{ with get $source.signature $name }}, {{ $name }} = {{ . | quote }}{{ end }}{{ end }} }
{{- end }}
{{- with .from }}
from = {{ toJson . }}
{{- end }}
{{- with .headers }}
headers = {{ toJson . }}
{{- end }}
{{- if .idempotencyHeader }}
idempotency_header = true
{{- end }}
{{ end }}
{{- range .Values.destinations }}
[destinations.{{ .name | quote }}]
api_key = { file = "/etc/moehog/secrets/{{ .apiKeyKey }}" }
{{- with .host }}
host = {{ . | quote }}
{{- end }}
{{- with .api }}
api = {{ . | quote }}
{{- end }}
{{- with .maxEventsPerSecond }}
max_events_per_second = {{ int64 . }}
{{- end }}
{{ end }}
{{- end }}

{{/* Takes a source: the header that its token stands in. */}}
{{- define "moehog.header" -}}
{{ .header | default "authorization" }}
{{- end }}

{{- define "moehog.files" -}}
{{- range $index, $key := . }}{{ if $index }}, {{ end }}{ file = "/etc/moehog/secrets/{{ $key }}" }{{ end }}
{{- end }}

{{- define "moehog.users" -}}
{{- range $index, $user := . }}{{ if $index }}, {{ end -}}
{ user = {{ $user.user | quote }}, password = { file = "/etc/moehog/secrets/{{ $user.passwordKey }}" } }
{{- end }}
{{- end }}

{{/* Names of variables whose keys stand in that file, and the value that writes each: a variable would win over the file without
a word, and what the chart makes of the value (probes, policies, the volume) would not follow. */}}
{{- define "moehog.inTheFile" -}}
HTTP__LISTEN: listenHost
HTTP__TRUSTED_PROXIES: trustedProxies
API__TOKENS: api.tokenKeys
JOURNAL__DIR: nothing, the volume is mounted there
JOURNAL__BUDGET_BYTES: gateway.journal.budgetPercent
JOURNAL__RETENTION: gateway.journal.retention
JOURNAL__DEAD_LETTER_RETENTION: gateway.journal.deadLetterRetention
MAPPING__KEEP_PUSH_TOKENS: mapping.keepPushTokens
MAPPING__HASH_KEY: mapping.hashKey
MAPPING__FILE: mapping.files
POSTHOG__HOST: posthog.host
POSTHOG__VERIFY_KEY: posthog.verifyKey
POSTHOG__CA_FILE: posthog.ca
TELEMETRY__LOG: log.level
TELEMETRY__FORMAT: log.format
{{- end }}

{{/* Takes {service, name}: fails where the variable stands in for a key of the file. */}}
{{- define "moehog.refuseInTheFile" -}}
{{- $key := trimPrefix "MOEHOG__" .name -}}
{{- $set := get (include "moehog.inTheFile" . | fromYaml) $key -}}
{{- range $section, $values := dict "SOURCES__" "sources" "DESTINATIONS__" "destinations" "TLS__" "tls" -}}
{{- if hasPrefix $section $key -}}{{- $set = $values -}}{{- end -}}
{{- end -}}
{{- if and $set (hasPrefix "MOEHOG__" .name) -}}
{{- fail (printf "%s.env.%s would override what the chart configures: set %s instead" .service .name $set) -}}
{{- end -}}
{{- end }}
