//go:build tools

// Package tools names the program that hack/binaries.py builds, so that "go mod tidy" keeps it.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
