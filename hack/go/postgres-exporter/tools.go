//go:build tools

// Package tools names the program that hack/images puts into the image, so that "go mod tidy" keeps it.
package tools

import (
	_ "github.com/prometheus-community/postgres_exporter/cmd/postgres_exporter"
)
