package sqlitefile

import (
	"errors"

	driver "modernc.org/sqlite"
)

// Code returns SQLite's primary result code in an error, such as SQLITE_BUSY of
// modernc.org/sqlite/lib; zero if there is none.
func Code(err error) int {
	if failure, ok := errors.AsType[*driver.Error](err); ok {
		return failure.Code() & 0xff
	}
	return 0
}
