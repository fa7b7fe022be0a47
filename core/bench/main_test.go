package bench

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		if err := help(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	goleak.VerifyTestMain(testdb.Runner{M: m})
}
