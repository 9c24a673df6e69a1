{{/*
An upgrade with --reuse-values brings the values of an older chart, without the keys that came later. So every value is
read through a default here, also where values.yaml has one.
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

{{/* Not empty if the operator counts what is in the cluster. */}}
{{- define "kube9-operator.collects" -}}
{{- if dig "enabled" true (.Values.collection | default dict) }}true{{ end }}
{{- end }}

{{/* Not empty if the operator keeps events. */}}
{{- define "kube9-operator.keepsEvents" -}}
{{- if dig "enabled" false (.Values.eventStore | default dict) }}true{{ end }}
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
{{- with .Values.nodeSelector }}
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
{{- $fields := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- /* OpenShift gives every namespace a range of user ids and refuses all others. */}}
{{- if not (.Capabilities.APIVersions.Has "security.openshift.io/v1") }}
{{- $fields = merge $fields (dict "runAsUser" 1000 "runAsGroup" 1000) }}
{{- if include "kube9-operator.eventClaim" . }}
{{- $fields = merge $fields (dict "fsGroup" 1000 "fsGroupChangePolicy" "OnRootMismatch") }}
{{- end }}
{{- end }}
{{- include "kube9-operator.replaced" (dict "Values" .Values "fields" $fields "by" .Values.podSecurityContext) }}
{{- end }}

{{- define "kube9-operator.securityContext" -}}
{{- $capabilities := dict "drop" (list "ALL") }}
{{- $fields := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" $capabilities }}
{{- include "kube9-operator.replaced" (dict "Values" .Values "fields" $fields "by" .Values.securityContext) }}
{{- end }}

{{/* `fields`, each of them replaced by the one of `by`, where that has it; one that is null there is left out. */}}
{{- define "kube9-operator.replaced" -}}
{{- $fields := .fields }}
{{- range $name, $value := .by | default dict }}
{{- $fields = omit $fields $name }}
{{- if not (kindIs "invalid" $value) }}
{{- $_ := set $fields $name $value }}
{{- end }}
{{- end }}
{{- toYaml $fields }}
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
{{- if or $image.repository $image.tag $image.digest }}
{{- $repository := regexReplaceAll ":[^:/]+$" (splitList "@" $released | first) "" }}
{{- printf "%s:%s" ($image.repository | default $repository) ($image.tag | default .Chart.AppVersion) }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- else }}
{{- $released }}
{{- end }}
{{- end }}
