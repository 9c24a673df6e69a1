// Finds a version of a chart and unpacks it, as Argo CD's repo-server does for an Application: by the same code of Argo CD's, without its cache.
// Arguments: the repository, the chart, and the Application's `targetRevision`. A repository that is no URL is a registry over plain HTTP.
// It prints the version and the folder as JSON; `helm` is looked for on PATH, as Argo CD looks for it.
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/argoproj/argo-cd/v3/util/helm"
	"github.com/argoproj/argo-cd/v3/util/versions"
)

// What Argo CD allows by default: `reposerver.helm.manifest.max.extracted.size` and `--helm-registry-max-index-size`.
const (
	maxExtracted = 1 << 30
	maxIndex     = 1 << 30
)

func main() {
	repository, chart, revision := os.Args[1], os.Args[2], os.Args[3]
	isRegistry := helm.IsHelmOciRepo(repository)
	client := helm.NewClient(repository, helm.HelmCreds{}, isRegistry, "", "", helm.WithPlainHTTP())
	version := revision
	if !versions.IsVersion(revision) {
		known := tags(client, chart, isRegistry)
		version = must(versions.MaxVersion(revision, known, ""))
	}
	folder, _, err := client.ExtractChart(chart, version, false, maxExtracted, false)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"version": version, "folder": folder}); err != nil {
		log.Fatal(err)
	}
}

func tags(client helm.Client, chart string, isRegistry bool) []string {
	if isRegistry {
		return must(client.GetTags(chart, true))
	}
	return must(must(client.GetIndex(true, maxIndex)).GetEntries(chart)).Tags()
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
