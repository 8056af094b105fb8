{{- /* The Deployment of a member of a consumer group, and what belongs to it. Takes (list root component). */}}
{{- define "callstream.worker" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $own := get $root.Values $component -}}
{{- $most := include "callstream.most" . | int -}}
{{- $partitions := $root.Values.topics.partitions | int -}}
{{- if gt $most $partitions -}}
{{- if $own.autoscaling.enabled }}
{{- fail (printf "%s.autoscaling.maxReplicas is %d and topics.partitions %d: a pod without a partition has nothing to do" $component $most $partitions) }}
{{- else if $root.Values.kafka.bundled }}
{{- /* Elsewhere the topics Job refuses it, which also knows the topics that are there; here none runs first. */}}
{{- fail (printf "%s.replicas is %d and topics.partitions %d: a pod without a partition has nothing to do" $component $most $partitions) }}
{{- end }}
{{- end -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "callstream.metadata" . | nindent 2 }}
spec:
  {{- if not $own.autoscaling.enabled }}
  replicas: {{ $own.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "callstream.selector" . | nindent 6 }}
  strategy:
    rollingUpdate:
      {{- if lt $most $partitions }}
      # The next pod has its place in the group before the last one gives up its own, so that nothing stands still.
      maxSurge: 1
      maxUnavailable: 0
      {{- else }}
      # One more than there are partitions would have none, and wait for one until the others go.
      maxSurge: 0
      maxUnavailable: 1
      {{- end }}
  template:
    # Grace: the drain, 10 s in which the process ends itself, and 15 s so that it is never the kubelet who ends it.
    {{- include "callstream.podTemplate" (dict
      "root" $root
      "component" $component
      "port" 8080
      "grace" (add $own.drain 25)
      "probes" (include "callstream.probes" "http")
    ) | nindent 4 }}
{{- if gt (include "callstream.fewest" . | int) 1 }}
---
{{ include "callstream.disruption" . }}
{{- end }}
{{- if $own.autoscaling.enabled }}
---
{{ include "callstream.scaledObject" . }}
{{- end }}
{{- end }}

{{- define "callstream.disruption" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "callstream.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  # While Kafka is away no pod is ready, and nodes must be drained nevertheless.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "callstream.selector" . | nindent 6 }}
{{- end }}

{{- define "callstream.scaledObject" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $scaling := (get $root.Values $component).autoscaling -}}
{{- $prefix := $root.Values.topics.prefix -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "callstream.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    name: {{ include "callstream.fullname" $root }}-{{ $component }}
  minReplicaCount: {{ $scaling.minReplicas }}
  maxReplicaCount: {{ $scaling.maxReplicas }}
  # Who cannot read the lag must not scale down.
  fallback:
    failureThreshold: 3
    replicas: {{ $scaling.minReplicas }}
    behavior: currentReplicasIfHigher
  triggers:
    - type: kafka
      metadata:
        bootstrapServers: {{ include "callstream.bootstrap" $root | quote }}
        consumerGroup: {{ $prefix }}callstream-{{ $component }}
        lagThreshold: {{ $scaling.lagThreshold | int | quote }}
        offsetResetPolicy: earliest
        {{- if eq $component "callbacks" }}
        # Not the tiers: what waits there for its time is no work that more pods could do.
        topic: {{ $prefix }}task.results
        limitToPartitionsWithLag: "true"
        {{- end }}
      {{- with $root.Values.keda.authentication }}
      authenticationRef:
        name: {{ . }}
      {{- end }}
{{- end }}
