package sqlstore

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Runner{M: m}) }
