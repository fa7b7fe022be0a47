// Package bound checks the limits of a store in the same way for every store.
package bound

import (
	"fmt"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Load is a number of records and the sum of their sizes in bytes.
type Load struct {
	Records int
	Bytes   int64
}

// Check reports whether added records fit in addition to the held ones. A limit
// of zero or less means no limit. The error names the limit: it is
// outbox.ErrNeverFits if the added records exceed it by themselves, otherwise
// outbox.ErrFull.
func Check(limit, held, added Load) error {
	switch {
	case limit.Records > 0 && added.Records > limit.Records:
		return fmt.Errorf("%w: %d records exceed its limit of %d", outbox.ErrNeverFits, added.Records, limit.Records)
	case limit.Bytes > 0 && added.Bytes > limit.Bytes:
		return fmt.Errorf("%w: %d bytes exceed its limit of %d", outbox.ErrNeverFits, added.Bytes, limit.Bytes)
	case limit.Records > 0 && held.Records+added.Records > limit.Records:
		return fmt.Errorf("%w: its limit is %d records", outbox.ErrFull, limit.Records)
	case limit.Bytes > 0 && held.Bytes+added.Bytes > limit.Bytes:
		return fmt.Errorf("%w: its limit is %d bytes", outbox.ErrFull, limit.Bytes)
	}
	return nil
}
