{{/*
What runs already, as `lookup` finds it. In `helm template` and in a dry run of the client it finds nothing: then all
is as the values say. The decisions stand in templates of their own that take what was found.
*/}}

{{/* A service's workload as {reached, object}: whether the cluster could be asked, and what runs; nothing is {}. */}}
{{- define "moehog.liveWorkload" -}}
{{- $found := dict "reached" false "object" dict -}}
{{- if .root.Values.lookAtCluster -}}
{{- $kind := eq .service "gateway" | ternary "StatefulSet" "Deployment" -}}
{{- $name := include "moehog.name" . -}}
{{- /* a list: empty, it still tells that a cluster answered */ -}}
{{- $list := lookup "apps/v1" $kind .root.Release.Namespace "" -}}
{{- $_ := set $found "reached" (not (empty $list)) -}}
{{- range $list.items -}}
{{- if eq .metadata.name $name -}}{{- $_ := set $found "object" . -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end }}

{{/* Who else than helm set a workload's number of pods, such as kubectl or an autoscaler, by the owners of its fields. */}}
{{- define "moehog.replicaHolders" -}}
{{- $holders := list -}}
{{- range (.metadata | default dict).managedFields -}}
{{- if and (hasKey (dig "fieldsV1" "f:spec" dict .) "f:replicas") (not (contains "helm" .manager)) -}}
{{- $holders = append $holders .manager -}}
{{- end -}}
{{- end -}}
{{- $holders | uniq | join ", " -}}
{{- end }}

{{/*
The number of pods to write, or nothing. Takes {wanted, scaled, least, reached, live}: the value, whether an autoscaler
decides and its minReplicas, whether a cluster answered, and the workload that runs.

Helm 4 applies on the server, which refuses another number than somebody else set, in the middle of an upgrade. A number
that is left out and has no other owner becomes 1; and where helm applies by itself, as Helm 3 does, it takes away what it
wrote once and now leaves out, whoever has set it since. So what somebody else set is kept, and is left out only where
helm applies on the server and an autoscaler has taken it over.
Source: Kubernetes, "Server-Side Apply", conflicts and transferring ownership (read 2026-11-28).
*/}}
{{- define "moehog.chooseReplicas" -}}
{{- $holders := include "moehog.replicaHolders" .live -}}
{{- $runs := dig "spec" "replicas" 1 .live | int64 -}}
{{- $applied := false -}}
{{- range (.live.metadata | default dict).managedFields -}}
{{- if and (contains "helm" .manager) (eq .operation "Apply") -}}{{- $applied = true -}}{{- end -}}
{{- end -}}
{{- if not .scaled -}}
{{- $holders | empty | ternary .wanted $runs -}}
{{- else if not .live -}}
{{- if .reached }}{{ .least }}{{ end -}}
{{- else if not $holders -}}
{{- max $runs (.least | int64) -}}
{{- else if not $applied -}}
{{- $runs -}}
{{- end -}}
{{- end }}

{{/* The number of pods of a service that is to be written; nothing where an autoscaler has it. */}}
{{- define "moehog.replicas" -}}
{{- $values := index .root.Values .service -}}
{{- $scaling := get $values "autoscaling" | default (dict "mode" "none") -}}
{{- $live := include "moehog.liveWorkload" . | fromJson -}}
{{- $seen := dict "wanted" $values.replicas "scaled" (ne $scaling.mode "none") "least" $scaling.minReplicas -}}
{{- include "moehog.chooseReplicas" (merge $seen (dict "reached" $live.reached "live" $live.object)) -}}
{{- end }}

{{/* What helm tells of numbers of pods that it did not set. */}}
{{- define "moehog.keptReplicas" -}}
{{- range $service := list "gateway" "transformer" "delivery" -}}
{{- $this := dict "root" $ "service" $service -}}
{{- $live := (include "moehog.liveWorkload" $this | fromJson).object -}}
{{- $scaling := get (index $.Values $service) "autoscaling" | default (dict "mode" "none") -}}
{{- $number := include "moehog.replicas" $this -}}
{{- $wanted := (index $.Values $service).replicas | toString -}}
{{- if and $live (eq $scaling.mode "none") (ne $number $wanted) }}

{{ $service }} keeps the {{ $number }} pods that {{ include "moehog.replicaHolders" $live }} set; {{ $service }}.replicas says {{ $wanted }}.
{{- if and (eq $service "gateway") (lt ($wanted | int) ($number | int)) }}
For {{ $wanted }}, first read "Scale in" in deploy/README.md, then:
{{- else }} For {{ $wanted }}:
{{- end }}

   kubectl -n {{ $.Release.Namespace }} scale {{ lower $live.kind }}/{{ $live.metadata.name }} --replicas={{ $wanted }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What helm tells when gateways leave. */}}
{{- define "moehog.leavingGateways" -}}
{{- $gateway := dict "root" . "service" "gateway" -}}
{{- $name := include "moehog.name" $gateway -}}
{{- $old := dig "spec" "replicas" 0 (include "moehog.liveWorkload" $gateway | fromJson).object | int -}}
{{- $new := include "moehog.replicas" $gateway | int -}}
{{- if lt $new $old -}}
{{- $leave := list -}}
{{- range $ordinal := untilStep $new $old 1 }}{{ $leave = append $leave (printf "%s-%d" $name $ordinal) }}{{ end -}}
{{- "" }}

{{ len $leave }} of {{ $old }} gateways leave now: {{ join ", " $leave }}. Each has a journal of its own:
what still waits in it when the pod has stopped is on its volume, and nobody delivers it until that gateway runs again.
The last lines of its log say how many webhooks wait:
{{ range $leave }}
   kubectl -n {{ $.Release.Namespace }} logs {{ . }} --follow
{{- end }}

If any wait, or you did not see it, set gateway.replicas to {{ $old }} again: the same journals are opened, and deliver.
The claims (journal-{{ first $leave }}{{ range rest $leave }}, journal-{{ . }}{{ end }}) stay until you delete them; before that, read "Scale in" in
deploy/README.md.
{{- end -}}
{{- end }}

{{/* What helm tells when volumes are smaller than the values say. */}}
{{- define "moehog.smallVolumes" -}}
{{- $size := .Values.gateway.journal.size -}}
{{- range (include "moehog.journalClaims" . | fromJson).claims -}}
{{- $has := include "moehog.bytes" .has | int64 -}}
{{- if and (gt $has 0) (lt $has (include "moehog.bytes" $size | int64)) }}

The volume of {{ .name }} has {{ .has }}, less than gateway.journal.size ({{ $size }}):
the budget of all journals is that of the smallest volume. "Resize" in deploy/README.md says how it grows; the upgrade after that takes the larger budget.
{{- end -}}
{{- end -}}
{{- end }}

{{/* Bytes of a quantity of the API; 0 for one that is written otherwise than sizes are. */}}
{{- define "moehog.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "P" 1000000000000000 -}}
{{- $units = merge $units (dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624) -}}
{{- $number := regexFind "^[0-9]+" (toString .) -}}
{{- $unit := trimPrefix $number (toString .) -}}
{{- if and $number (hasKey $units $unit) }}{{ mul ($number | int64) (get $units $unit) }}{{ else }}0{{ end -}}
{{- end }}

{{/* The claims that the gateways have already, as a list of {name, asked, has}; asked and has are quantities. */}}
{{- define "moehog.journalClaims" -}}
{{- $claims := list -}}
{{- if .Values.lookAtCluster -}}
{{- $gateway := dict "root" . "service" "gateway" -}}
{{- $names := list -}}
{{- range $ordinal := until (include "moehog.replicas" $gateway | int) -}}
{{- $names = append $names (printf "journal-%s-%d" (include "moehog.name" $gateway) $ordinal) -}}
{{- end -}}
{{- range (lookup "v1" "PersistentVolumeClaim" .Release.Namespace "").items -}}
{{- if has .metadata.name $names -}}
{{- $asked := dig "spec" "resources" "requests" "storage" "" . -}}
{{- $has := dig "status" "capacity" "storage" "" . -}}
{{- $claims = append $claims (dict "name" .metadata.name "asked" $asked "has" $has) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson (dict "claims" $claims) -}}
{{- end }}

{{/* Bytes of the smallest volume that a gateway has or will get: {size, claims}. */}}
{{- define "moehog.smallestVolume" -}}
{{- $bytes := include "moehog.bytes" .size | int64 -}}
{{- range .claims -}}
{{- $has := include "moehog.bytes" .has | int64 -}}
{{- if gt $has 0 }}{{ $bytes = min $bytes $has }}{{ end -}}
{{- end -}}
{{- $bytes -}}
{{- end }}

{{/* Bytes that a journal may use of its volume: all gateways are told one number, that of the smallest. */}}
{{- define "moehog.budget" -}}
{{- $journal := .Values.gateway.journal -}}
{{- $claims := (include "moehog.journalClaims" . | fromJson).claims -}}
{{- $bytes := include "moehog.smallestVolume" (dict "size" $journal.size "claims" $claims) | int64 -}}
{{ mul (div $bytes 100) ($journal.budgetPercent | int64) }}
{{- end }}
