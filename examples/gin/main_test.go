package main

import (
	"context"
	"io"
	"testing"

	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/examples/internal/program"
	"github.com/postoffice-go/postoffice/examples/internal/smoke"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExample(t *testing.T) {
	smoke.Test(t, func(ctx context.Context, args []string, stdout io.Writer) error {
		return program.Run(ctx, args, stdout, newApp)
	})
}
