//go:build tools

// Package tools names the programs that hack/binaries builds, so that "go mod tidy" keeps them.
package tools

import (
	_ "github.com/rancher/local-path-provisioner"
)
