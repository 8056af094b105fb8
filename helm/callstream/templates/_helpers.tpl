{{- define "callstream.fullname" -}}
{{- $name := .Values.fullnameOverride | default (contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name)) -}}
{{- /* Leaves room for what Kubernetes appends to the names of pods. */ -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- /* Takes (list root component), like all that is for one component. */}}
{{- define "callstream.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "callstream.labels" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "callstream.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Name and labels; an object is named by its component. */}}
{{- define "callstream.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "callstream.fullname" $root }}-{{ index . 1 }}
labels:
  {{- include "callstream.labels" . | nindent 2 }}
{{- end }}

{{- define "callstream.serviceAccount" -}}
{{- $made := .Values.serviceAccount.create | ternary (include "callstream.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $made -}}
{{- end }}

{{- define "callstream.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "callstream.bootstrap" -}}
{{- if .Values.kafka.bundled -}}
{{- if .Values.kafka.bootstrap }}{{ fail "kafka.bootstrap and kafka.bundled exclude each other: is Kafka there, or shall one be run?" }}{{ end -}}
{{ include "callstream.fullname" . }}-kafka.{{ .Release.Namespace }}.svc:9092
{{- else -}}
{{ .Values.kafka.bootstrap | required "kafka.bootstrap is needed: name your Kafka, HOST:PORT, or set kafka.bundled=true to try out" }}
{{- end -}}
{{- end }}

{{- /* A value as an environment has it: Helm reads numbers as floats, and prints large ones as 1e+06. */}}
{{- define "callstream.scalar" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{- /* Every setting that the values give, as a map of variables. */}}
{{- define "callstream.settings" -}}
CALLSTREAM_KAFKA__BOOTSTRAP: {{ include "callstream.bootstrap" . | quote }}
CALLSTREAM_TOPICS__PREFIX: {{ .Values.topics.prefix | quote }}
CALLSTREAM_TOPICS__PARTITIONS: {{ .Values.topics.partitions | int | quote }}
CALLSTREAM_TOPICS__REPLICATION_FACTOR: {{ .Values.topics.replicationFactor | int | quote }}
CALLSTREAM_GATEWAY__DEADLINE: {{ .Values.gateway.deadline | int | quote }}
{{- if not (hasKey .Values.settings "GATEWAY__IN_FLIGHT_BYTES") }}
{{- with dig "limits" "memory" "" .Values.gateway.resources }}
CALLSTREAM_GATEWAY__IN_FLIGHT_BYTES: {{ include "callstream.gatewayBytes" $ | quote }}
{{- end }}
{{- end }}
{{- /* An eighth each: beside them stand what is read and waits, copies on their way out, and the process itself. */}}
{{- range list "TASKS__IN_FLIGHT_BYTES" "TASKS__ANSWER_BYTES" "CALLBACKS__IN_FLIGHT_BYTES" }}
{{- $own := splitList "__" . | first | lower | get $.Values }}
{{- $limit := dig "limits" "memory" "" $own.resources }}
{{- if and $limit (not (hasKey $.Values.settings .)) }}
CALLSTREAM_{{ . }}: {{ div (include "callstream.bytes" $limit | int64) 8 | max 1048576 | quote }}
{{- end }}
{{- end }}
CALLSTREAM_TASKS__DRAIN: {{ .Values.tasks.drain | int | quote }}
CALLSTREAM_CALLBACKS__DRAIN: {{ .Values.callbacks.drain | int | quote }}
CALLSTREAM_EGRESS__ALLOW: {{ join "," .Values.egress.allow | quote }}
{{- range $name, $value := .Values.settings }}
CALLSTREAM_{{ $name }}: {{ include "callstream.scalar" $value | quote }}
{{- end }}
{{- end }}

{{- /* The most pods that a component of the pipeline may have. */}}
{{- define "callstream.most" -}}
{{- $root := index . 0 -}}
{{- $own := get $root.Values (index . 1) -}}
{{- $own.autoscaling.enabled | ternary $own.autoscaling.maxReplicas $own.replicas | int -}}
{{- end }}

{{- define "callstream.fewest" -}}
{{- $root := index . 0 -}}
{{- $own := get $root.Values (index . 1) -}}
{{- $own.autoscaling.enabled | ternary $own.autoscaling.minReplicas $own.replicas | int -}}
{{- end }}

{{- /* The most members of one consumer group: beyond the partitions they would have nothing to do. */}}
{{- define "callstream.members" -}}
{{- max (include "callstream.most" (list . "tasks")) (include "callstream.most" (list . "callbacks")) -}}
{{- end }}

{{- /* A quantity of memory in bytes. */}}
{{- define "callstream.bytes" -}}
{{- $units := dict "" 1 "K" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- $text := include "callstream.scalar" . -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- if not (and (hasKey $units $unit) (regexMatch "^[0-9]+(\\.[0-9]+)?[A-Za-z]*$" $text)) }}{{ fail (printf "%s is no quantity of memory such as 256Mi or 1Gi" $text) }}{{ end -}}
{{- mulf (trimSuffix $unit $text | float64) (get $units $unit) | floor | int64 -}}
{{- end }}

{{- /* What bodies may take of the gateway's memory, docs/decisions/0014: half of what the process with its keys and the
one that validates large bodies (150 MiB together, and 72 bytes for each of the largest body) leave. */}}
{{- define "callstream.gatewayBytes" -}}
{{- $limit := include "callstream.bytes" .Values.gateway.resources.limits.memory | int64 -}}
{{- $body := .Values.settings.GATEWAY__BODY_LIMIT | default 1048576 | int64 -}}
{{- $bytes := div (sub $limit (add (mul 150 1048576) (mul 72 $body))) 2 -}}
{{- if lt $bytes (mul 3 $body) }}{{ fail (printf "gateway.resources.limits.memory must be at least %dMi for bodies of %d bytes (settings.GATEWAY__BODY_LIMIT)" (add 151 (div (mul 78 $body) 1048576)) $body) }}{{ end -}}
{{- $bytes -}}
{{- end }}
