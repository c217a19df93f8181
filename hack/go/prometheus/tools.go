//go:build tools

// Package tools names the programs that hack/images puts into the image, so that "go mod tidy" keeps them.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
