package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// TestHelp has every command explain itself, with an example that begins with
// the command.
func TestHelp(t *testing.T) {
	var each func(command *cobra.Command)
	seen := 0
	each = func(command *cobra.Command) {
		seen++
		path := command.CommandPath()
		assert.NotEmpty(t, command.Short, path)
		assert.Contains(t, command.Example, path, path)
		assert.NotContains(t, command.Long, "\t", path)
		for _, inner := range command.Commands() {
			each(inner)
		}
	}
	root := newApp(os.Stdin, os.Stdout, os.Stderr).rootCommand()
	each(root)
	assert.Greater(t, seen, 12)

	r := run(t, "outbox", "list", "--help").is(exit.OK)
	assert.Contains(t, r.stdout, "Examples:")
	for _, code := range []int{
		exit.OK, exit.Failed, exit.Usage, exit.Partly, exit.Unreachable, exit.InUse,
		exit.Interrupted, exit.Terminated, exit.ClosedPipe,
	} {
		assert.Regexp(t, fmt.Sprintf(`\b%d\b`, code), rootHelp())
	}
	help := run(t, "--help").is(exit.OK).stdout
	for _, name := range append(connect.Variables(), "POSTOFFICE_SETTINGS", "POSTOFFICE_OUTBOX", "POSTOFFICE_INBOX") {
		assert.Regexp(t, `\b`+name+`\b`, help)
	}
}

func TestBadUsage(t *testing.T) {
	for arguments, want := range map[string]string{
		"publis":                                     "publish",
		"outbox":                                     "outbox needs a command",
		"outbox lst":                                 "did you mean list?",
		"configure everything":                       `has no command "everything"`,
		"publish":                                    "between 1 and 2 arg",
		"publish a b c":                              "between 1 and 2 arg",
		"publish a {} --file x":                      "cannot be combined",
		"publish a --in 1h --at x":                   "in at",
		"publish a --in -1h":                         "--in is negative",
		"publish a --at tomorrow":                    "--at must be a time",
		"publish a -a =x":                            "--attribute number 1 must be NAME=VALUE",
		"publish a -a x":                             "--attribute number 1 must be NAME=VALUE",
		"publish a --nothing":                        "unknown flag: --nothing",
		"health http://u:swordfish@x":                "http://xxxxx@x",
		"health --timeout http://u:swordfish@x":      "http://xxxxx@x",
		`publish {"private":1}`:                      "TOPIC comes before PAYLOAD",
		"health x":                                   "unknown command",
		"health":                                     "URL is required",
		"health --timeout soon":                      "--timeout",
		"outbox list":                                "--outbox (or POSTOFFICE_OUTBOX)",
		"outbox list --limit -1 -o x":                "no file",
		"outbox list -o ftp://u:swordfish@x":         "postgres:// or mysql://",
		"outbox list -o postgres://u:swordfish%@x/y": "percent-encoded",
		"outbox list -o mysql://u:swordfish@x":       "names no database",
		"outbox show -o x":                           "accepts 1 arg",
		"outbox retry -o x":                          "no messages selected",
		"outbox retry a --all -o x":                  "--all cannot be combined",
		"outbox retry a --topic b -o x":              "ids and --topic",
		"outbox retry --all --state x -o x":          "--state must be pending or dead",
		"outbox discard --all -o x":                  "--yes",
	} {
		t.Run(arguments, func(t *testing.T) {
			r := run(t, strings.Fields(arguments)...)
			if want == "no file" {
				r.is(exit.Failed)
			} else {
				r.is(exit.Usage)
				assert.Contains(t, r.stderr, " --help")
			}
			r.says(want)
			assert.Empty(t, r.stdout)
			assert.NotContains(t, r.stderr, "private")
		})
	}
}

// TestBadSettings has each field at fault named, with where to set it.
func TestBadSettings(t *testing.T) {
	file := textFile(t, `{"TIMEOUT": "soon", "URL": 7, "BULK_LIMT": 1}`)
	run(t, "health", "--settings", file).is(exit.Usage).says(file, "TIMEOUT must be seconds", "URL must be a string", "did you mean BULK_LIMIT?")

	c := prepare(t, []string{
		"POSTOFFICE_URL=ftp://user:" + secret + "@host", "POSTOFFICE_BULK_LIMIT=5000", "POSTOFFICE_RECOVERY_PATH=no",
		`POSTOFFICE_CONSUMERS=[{"topic": "", "target": "http://user:` + secret + `@host", "timeout": 0.5}]`,
	}, "configure", "all", "--topic", "orders", "--timeout", "-1s")
	c.start().wait().is(exit.Usage).says("\n  URL must", "(--url, POSTOFFICE_URL, or URL in the settings file)",
		"\n  BulkLimit is 5000", "\n  RecoveryPath must", "\n  OriginHost is required with Topics", "--origin-host",
		"\n  Consumers[0].Topic is blank", "\n  Consumers[0].Timeout is", "\n  Timeout is negative")
}

func TestVersion(t *testing.T) {
	var b build
	run(t, "version", "--json").is(exit.OK).decode(&b)
	assert.NotEmpty(t, b.Version)
	assert.Contains(t, b.Go, "go1.")
	assert.Contains(t, run(t, "version").is(exit.OK).stdout, "postoffice "+b.Version)
	assert.Contains(t, run(t, "--version").is(exit.OK).stdout, b.Version)
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		assert.Contains(t, run(t, "completion", shell).is(exit.OK).stdout, "postoffice")
	}
	complete := func(arguments ...string) []string {
		c := prepare(t, []string{"POSTOFFICE_TOPICS=orders,invoices"}, append([]string{"__complete"}, arguments...)...)
		return strings.Fields(c.start().wait().is(exit.OK).stdout)
	}
	assert.Equal(t, []string{"orders", "invoices", ":4"}, complete("publish", ""))
	assert.Equal(t, []string{":4"}, complete("publish", "orders", ""))
	assert.Equal(t, []string{"pending", "dead", ":4"}, complete("outbox", "list", "--state", ""))
	require.Contains(t, complete("outbox", ""), "discard")
}
