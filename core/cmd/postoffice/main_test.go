package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
)

// binary is the program under test, as users run it.
var binary string

// TestMain builds the program and runs the tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(built{m}) }

// built runs tests after it has built the program.
type built struct{ m *testing.M }

func (b built) Run() int {
	directory, err := os.MkdirTemp("", "postoffice-command")
	if err == nil {
		defer func() { _ = os.RemoveAll(directory) }() // a temporary directory
		binary = filepath.Join(directory, "postoffice")
		if runtime.GOOS == "windows" {
			binary += ".exe"
		}
		command := exec.CommandContext(context.Background(), "go", "build", "-o", binary, ".")
		var output []byte
		if output, err = command.CombinedOutput(); err != nil {
			err = errors.Join(err, errors.New(string(output)))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building the program under test:", err)
		return 1
	}
	return testdb.Main(b.m)
}
