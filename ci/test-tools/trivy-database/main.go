// Writes a vulnerability database that Trivy reads: what the scan tests need, and nothing else.
//
//	trivy-database FILE CRATE=CVE=SEVERITY "debian 12/PACKAGE=CVE=SEVERITY" ...
//
// Every version of a crate below 99.0.0 is vulnerable, and every one of a distribution's source package. The buckets are those of
// Trivy's database, version 2.
package main

import (
	"fmt"
	"os"
	"strings"

	"go.etcd.io/bbolt"
)

const source = "cargo::GitHub Security Advisory Rust"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("usage: trivy-database FILE [RELEASE/]NAME=CVE=SEVERITY ...")
	}
	database, err := bbolt.Open(arguments[0], 0o644, nil)
	if err != nil {
		return err
	}
	defer database.Close()
	return database.Update(func(transaction *bbolt.Tx) error {
		for _, finding := range arguments[1:] {
			parts := strings.Split(finding, "=")
			if len(parts) != 3 {
				return fmt.Errorf("%q is not [RELEASE/]NAME=CVE=SEVERITY", finding)
			}
			crate, id, severity := parts[0], parts[1], parts[2]
			var err error
			if release, name, found := strings.Cut(crate, "/"); found {
				err = put(transaction, `{"FixedVersion":"99:1"}`, id, release, name)
			} else {
				err = put(transaction, `{"PatchedVersions":["99.0.0"],"VulnerableVersions":["<99.0.0"]}`, id, source, crate)
			}
			if err != nil {
				return err
			}
			detail := fmt.Sprintf(`{"Title":"a finding for tests","Severity":%q}`, severity)
			if err := put(transaction, detail, id, "vulnerability"); err != nil {
				return err
			}
		}
		return put(transaction, `{"ID":"ghsa","Name":"GitHub Security Advisory Rust","URL":""}`, source, "data-source")
	})
}

func put(transaction *bbolt.Tx, value, key, bucket string, inner ...string) error {
	place, err := transaction.CreateBucketIfNotExists([]byte(bucket))
	for _, name := range inner {
		if err == nil {
			place, err = place.CreateBucketIfNotExists([]byte(name))
		}
	}
	if err != nil {
		return err
	}
	return place.Put([]byte(key), []byte(value))
}
