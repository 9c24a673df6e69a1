// A registry that lists referrers by itself, on a port of this machine, in memory. It takes whatever it is given from whoever comes.
//
//	registry PORT
//
// The library names no place of what was pushed, which the specification asks for ("Pushing Blobs", "Pushing Manifests") and clients
// insist on, so that is added here.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: registry PORT")
		os.Exit(2)
	}
	handler := registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+os.Args[1], placed{handler}))
	os.Exit(1)
}

type placed struct{ http.Handler }

func (inner placed) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	inner.Handler.ServeHTTP(&answer{response, request.URL.Path}, request)
}

type answer struct {
	http.ResponseWriter
	path string
}

func (answer *answer) WriteHeader(status int) {
	if status == http.StatusCreated && answer.Header().Get("Location") == "" {
		answer.Header().Set("Location", answer.path)
	}
	answer.ResponseWriter.WriteHeader(status)
}
