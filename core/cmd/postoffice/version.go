package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build describes the program. It is the JSON of version.
type build struct {
	// Version is the version of the module; "(devel)" if it was built from a
	// checkout without a tag.
	Version string `json:"version"`
	// Revision and Time are those of the commit, if known. Modified reports
	// uncommitted changes.
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified"`
	// Go is the version of the compiler, Platform the platform of the program.
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readBuild() build {
	b := build{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Revision = setting.Value
		case "vcs.time":
			b.Time = setting.Value
		case "vcs.modified":
			b.Modified = setting.Value == "true"
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Long: `Prints the version of this program, of Go, and the commit it was built from.

JSON: {"version", "revision", "time", "modified", "go", "platform"}`,
		Example: "  postoffice version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := readBuild()
			return a.result(b, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "postoffice %s, %s, %s\n", b.Version, b.Go, b.Platform)
				if b.Revision != "" {
					changed := ""
					if b.Modified {
						changed = ", with changes"
					}
					_, _ = fmt.Fprintf(w, "commit %s of %s%s\n", b.Revision, b.Time, changed)
				}
			})
		},
	}
}
