package sqlitefile

import (
	"errors"

	driver "modernc.org/sqlite"
)

// Code returns the primary result code of SQLite in an error, such as
// SQLITE_BUSY of modernc.org/sqlite/lib; zero when there is none.
func Code(err error) int {
	if failure, ok := errors.AsType[*driver.Error](err); ok {
		return failure.Code() & 0xff
	}
	return 0
}
