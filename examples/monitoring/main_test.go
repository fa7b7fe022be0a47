package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/examples/internal/smoke"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExample(t *testing.T) { smoke.Test(t, run) }

func TestFlagsAreChecked(t *testing.T) {
	for _, args := range [][]string{{"-rate", "-1"}, {"-rate", "1001"}, {"-up", "0s"}, {"-down", "-1s"}} {
		_, err := parseFlags(args)
		assert.ErrorContains(t, err, args[0]+": must")
	}
}
