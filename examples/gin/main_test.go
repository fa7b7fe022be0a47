package main

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/examples/internal/smoke"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExample(t *testing.T) { smoke.Test(t, run) }
