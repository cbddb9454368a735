// Reads dashboards as strictly as Grafana's SDK can: an unknown field, a missing one or a wrong type is an error.
//
//	grafana DASHBOARD.json…
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	failed := false
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func check(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	read := dashboard.Dashboard{}
	// Without errors it gives an empty list of them, which is not nil.
	var found cog.BuildErrors
	if err := read.UnmarshalJSONStrict(raw); err != nil && !(errors.As(err, &found) && len(found) == 0) {
		return err
	}
	return read.Validate()
}
