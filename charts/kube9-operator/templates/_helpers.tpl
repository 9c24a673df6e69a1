{{/*
An upgrade with --reuse-values brings the values of an older chart, without the keys that came later. What is missing then is
as if it were what values.yaml says: by a fallback in these templates, or, for what only the operator has to know, by the
operator's own default. Tests compare all three.
*/}}

{{/* The name of all objects. Independent of the release: a namespace has one operator, as it has one status ConfigMap. */}}
{{- define "kube9-operator.fullname" -}}
{{- .Values.fullnameOverride | default .Values.nameOverride | default "kube9-operator" }}
{{- end }}

{{/* How the VS Code extension finds the pod; also the immutable selector of Deployments made by charts 2.x. */}}
{{- define "kube9-operator.selectorLabels" -}}
app.kubernetes.io/name: kube9-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The name of objects that have no namespace: another namespace may have an operator, too. */}}
{{- define "kube9-operator.clusterName" -}}
{{- printf "%s-%s" (include "kube9-operator.fullname" .) .Release.Namespace }}
{{- end }}

{{/* Not empty if the operator looks for Argo CD. */}}
{{- define "kube9-operator.argocdIsLookedFor" -}}
{{- $argocd := .Values.argocd | default dict }}
{{- if and (ne (toString $argocd.autoDetect) "false") (ne (toString $argocd.enabled) "false") }}true{{ end }}
{{- end }}

{{/* The only namespace that the operator looks for Argo CD in; empty for all. */}}
{{- define "kube9-operator.argocdNamespace" -}}
{{- if include "kube9-operator.argocdIsLookedFor" . }}{{ (.Values.argocd | default dict).namespace | default "" }}{{ end }}
{{- end }}

{{/* The Secret with a token for Argo CD's API, if there is one to be used. */}}
{{- define "kube9-operator.argocdToken" -}}
{{- $token := ((.Values.argocd | default dict).api | default dict).token | default dict }}
{{- if include "kube9-operator.argocdIsLookedFor" . }}{{ $token.existingSecret | default "" }}{{ end }}
{{- end }}

{{/* Where that Secret is in the operator's container: a folder, since a file that is mounted by itself does not follow its Secret. */}}
{{- define "kube9-operator.argocdFolder" -}}
/var/run/secrets/kube9/argocd
{{- end }}

{{/* The ports of Argo CD's API: of its Service, of its pods, and of an address that users gave. */}}
{{- define "kube9-operator.argocdPorts" -}}
{{- $url := urlParse (((.Values.argocd | default dict).api | default dict).baseUrl | default "") }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "80" "443" (eq $url.scheme "http")) }}
{{- list "443" "8080" $port | uniq | toJson }}
{{- end }}

{{/* Not empty if the operator counts what is in the cluster. */}}
{{- define "kube9-operator.collects" -}}
{{- if dig "enabled" true (.Values.collection | default dict) }}true{{ end }}
{{- end }}

{{/* Not empty if the operator keeps events, as it does where nothing is said. */}}
{{- define "kube9-operator.keepsEvents" -}}
{{- if ne (toString (.Values.eventStore | default dict).enabled) "false" }}true{{ end }}
{{- end }}

{{/* The volume claim that it keeps them in, if there is one. */}}
{{- define "kube9-operator.eventClaim" -}}
{{- $persistence := dig "persistence" dict (.Values.eventStore | default dict) }}
{{- if and (include "kube9-operator.keepsEvents" .) $persistence.enabled }}
{{- if gt (int (.Values.replicas | default 1)) 1 }}
{{- fail "eventStore.persistence.enabled needs replicas: 1, since each replica keeps events of its own and cannot share a volume" }}
{{- end }}
{{- $persistence.existingClaim | default (printf "%s-event-store" (include "kube9-operator.fullname" .)) }}
{{- end }}
{{- end }}

{{/* Not empty if it keeps them in the pod itself, on the node's disk. */}}
{{- define "kube9-operator.keepsEventsInPod" -}}
{{- if and (include "kube9-operator.keepsEvents" .) (not (include "kube9-operator.eventClaim" .)) }}true{{ end }}
{{- end }}

{{/* How much they may take, in MiB. */}}
{{- define "kube9-operator.eventMegabytes" -}}
{{- dig "sizeLimitMegabytes" 256 (.Values.eventStore | default dict) | int }}
{{- end }}

{{/* The size of a new claim: with room for the events, and for what a file system needs itself. */}}
{{- define "kube9-operator.claimSize" -}}
{{- $size := dig "persistence" "size" "1Gi" (.Values.eventStore | default dict) }}
{{- $units := dict "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 }}
{{- $binary := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 }}
{{- $unit := get (merge $units $binary) (regexFind "[A-Za-z]*$" $size) | default 1 }}
{{- $megabytes := include "kube9-operator.eventMegabytes" . }}
{{- $needed := mulf $megabytes 1.1 | ceil }}
{{- if lt (divf (mulf (regexFind "^[0-9.]+" $size) $unit) 1048576) $needed }}
{{- fail (printf "eventStore.persistence.size is %s, and eventStore.sizeLimitMegabytes is %s: the claim needs %.0fMi, a tenth more, for its file system" $size $megabytes $needed) }}
{{- end }}
{{- $size }}
{{- end }}

{{/* Not empty if a ConfigMap leads the extension here, since this is none of the namespaces that it looks in. */}}
{{- define "kube9-operator.needsPointer" -}}
{{- $isFound := has .Release.Namespace (list "kube9-system" "default") }}
{{- if and (dig "create" true (.Values.pointer | default dict)) (not $isFound) }}true{{ end }}
{{- end }}

{{- define "kube9-operator.labels" -}}
{{ include "kube9-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Further labels of pods. */}}
{{- define "kube9-operator.podLabels" -}}
{{- with merge dict (.Values.podLabels | default dict) (.Values.commonLabels | default dict) }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* Annotations of the operator's pod. The cluster autoscaler takes no pod off its node for which it keeps something, unless it may. */}}
{{- define "kube9-operator.podAnnotations" -}}
{{- $annotations := deepCopy (.Values.podAnnotations | default dict) }}
{{- if include "kube9-operator.keepsEventsInPod" . }}
{{- $annotations = merge $annotations (dict "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" "events") }}
{{- end }}
{{- with $annotations }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* Resources of the operator's container: where it keeps events on the node's disk, it asks for that, too. */}}
{{- define "kube9-operator.resources" -}}
{{- $resources := deepCopy (.Values.resources | default dict) }}
{{- $limits := $resources.limits | default dict }}
{{- if and (include "kube9-operator.keepsEventsInPod" .) (not (hasKey $limits "ephemeral-storage")) }}
{{- $storage := dict "ephemeral-storage" (printf "%sMi" (include "kube9-operator.eventMegabytes" .)) }}
{{- $_ := set $resources "requests" (merge ($resources.requests | default dict) $storage) }}
{{- end }}
{{- with $resources }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* The name of the pod that `helm test` runs. It is not the operator: nothing that looks for that may find this one. */}}
{{- define "kube9-operator.testName" -}}
kube9-operator-test
{{- end }}

{{/* Which nodes a pod of this chart may run on, and how it is pulled there. */}}
{{- define "kube9-operator.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with ternary (dict "kubernetes.io/os" "linux") .Values.nodeSelector (kindIs "invalid" .Values.nodeSelector) }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kube9-operator.podSecurityContext" -}}
{{- $fields := dict "runAsNonRoot" true "runAsUser" 1000 "runAsGroup" 1000 "fsGroup" 1000 "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- if not (kindIs "invalid" .Values.podSecurityContext) }}
{{- $fields = .Values.podSecurityContext }}
{{- end }}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- range list "runAsUser" "runAsGroup" "fsGroup" }}
{{- if eq (int (get $fields .)) 1000 }}
{{- $fields = omit $fields . }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $fields }}
{{- end }}

{{- define "kube9-operator.securityContext" -}}
{{- $fields := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) }}
{{- toYaml (ternary $fields .Values.securityContext (kindIs "invalid" .Values.securityContext)) }}
{{- end }}

{{- define "kube9-operator.serviceAccountName" -}}
{{- $account := .Values.serviceAccount | default dict }}
{{- $account.name | default (ternary (include "kube9-operator.fullname" .) "default" (dig "create" true $account)) }}
{{- end }}

{{/* Not empty if image.tag is a version before 3.0.0, which is another program with other needs. */}}
{{- define "kube9-operator.imageTagIsOld" -}}
{{- $image := .Values.image | default dict }}
{{- if regexMatch "^v?[0-2](\\.[0-9]+){0,2}([-+].*)?$" ($image.tag | default "" | toString) }}true{{ end }}
{{- end }}

{{/* Not empty if the image values are the defaults of a chart before 3.0.0, kept by --reuse-values: they count as empty. */}}
{{- define "kube9-operator.imageIsOldDefault" -}}
{{- $image := .Values.image | default dict }}
{{- if eq ($image.repository | default "") "ghcr.io/alto9/kube9-operator" }}
{{- if not $image.digest }}{{ include "kube9-operator.imageTagIsOld" . }}{{ end }}
{{- end }}
{{- end }}

{{/*
The image. The released reference, repository:tag@digest, is an annotation in Chart.yaml that packaging adds: were it in
values.yaml, --reuse-values would keep the old one.
*/}}
{{- define "kube9-operator.image" -}}
{{- $unreleased := printf "ghcr.io/alto9/kube9-operator:%s" .Chart.AppVersion }}
{{- $released := index (.Chart.Annotations | default dict) "release/image" | default $unreleased }}
{{- $image := .Values.image | default dict }}
{{- if include "kube9-operator.imageIsOldDefault" . }}
{{- $image = dict }}
{{- end }}
{{- $registry := (.Values.global | default dict).imageRegistry }}
{{- if or $image.repository $image.tag $image.digest $registry }}
{{- $repository := regexReplaceAll ":[^:/]+$" (splitList "@" $released | first) "" }}
{{- if $registry }}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) (splitn "/" 2 $repository)._1 }}
{{- end }}
{{- printf "%s:%s" ($image.repository | default $repository) ($image.tag | default .Chart.AppVersion) }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- else }}
{{- $released }}
{{- end }}
{{- end }}
