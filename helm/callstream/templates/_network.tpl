{{- /* What callstream.runtime.egress calls public: the process judges each address, the network judges again. */}}
{{- define "callstream.public" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
        - 0.0.0.0/8
        - 10.0.0.0/8
        - 100.64.0.0/10
        - 127.0.0.0/8
        - 169.254.0.0/16 # with the clouds' metadata
        - 172.16.0.0/12
        - 192.0.0.0/24
        - 192.0.2.0/24
        - 192.88.99.0/24
        - 192.168.0.0/16
        - 198.18.0.0/15
        - 198.51.100.0/24
        - 203.0.113.0/24
        - 224.0.0.0/4
        - 240.0.0.0/4
        - 168.63.129.16/32 # Azure's own services
    - ipBlock:
        cidr: 2000::/3
        except:
        - 2001::/23
        - 2001:db8::/32
        - 2002::/16
        - 3fff::/20
    # NAT64: the same networks as above, as they are written there.
    - ipBlock:
        cidr: 64:ff9b::/96
        except:
        - 64:ff9b::/104
        - 64:ff9b::a00:0/104
        - 64:ff9b::6440:0/106
        - 64:ff9b::7f00:0/104
        - 64:ff9b::a9fe:0/112
        - 64:ff9b::ac10:0/108
        - 64:ff9b::c000:0/120
        - 64:ff9b::c000:200/120
        - 64:ff9b::c058:6300/120
        - 64:ff9b::c0a8:0/112
        - 64:ff9b::c612:0/111
        - 64:ff9b::c633:6400/120
        - 64:ff9b::cb00:7100/120
        - 64:ff9b::e000:0/100
        - 64:ff9b::f000:0/100
        - 64:ff9b::a83f:8110/128
{{- with .Values.egress.allow }}
- to:
    {{- range . }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
{{- end }}
{{- end }}

{{- define "callstream.dns" -}}
# To anywhere: some clusters answer from an address of the node.
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{- define "callstream.brokers" -}}
{{- if .Values.kafka.bundled -}}
- to:
    - podSelector:
        matchLabels:
          {{- include "callstream.selector" (list . "kafka") | nindent 10 }}
  ports:
    - {port: 9092, protocol: TCP}
{{- else -}}
{{- $ports := .Values.networkPolicy.kafkaPorts -}}
{{- if not $ports -}}
{{- range splitList "," (include "callstream.bootstrap" .) }}{{ $ports = append $ports (splitList ":" . | last | int) }}{{ end -}}
{{- end -}}
- ports:
    {{- range $ports | uniq }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .Values.networkPolicy.kafka }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end }}

{{- /* One peer: the pods of a component of this release, at a port. Takes (list root component port direction). */}}
{{- define "callstream.pods" -}}
- {{ index . 3 }}:
    - podSelector:
        matchLabels:
          {{- include "callstream.selector" . | nindent 10 }}
  ports:
    - {port: {{ index . 2 }}, protocol: TCP}
{{- end }}

{{- /* The policy of a component, up to its rules. Takes (list root component hook). */}}
{{- define "callstream.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "callstream.metadata" . | nindent 2 }}
  {{- with index . 2 }}
  annotations:
    helm.sh/hook: {{ . }}
    helm.sh/hook-weight: "-1"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
  {{- end }}
spec:
  podSelector:
    matchLabels:
      {{- include "callstream.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end }}
