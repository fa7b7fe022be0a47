package faults

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAcceptedIsOnDisk looks at the pages of the store's files in the page
// cache each time that a record was inserted: none may be dirty, which is to
// say that all were flushed to the disk before Insert returned. The death of
// a process, which the other tests bring about, cannot show that: the page
// cache survives it, and only a machine that loses its power forgets.
func TestAcceptedIsOnDisk(t *testing.T) {
	t.Parallel()
	eachStore(t, func(k kind) bool { return k.file }, func(t *testing.T, k kind) {
		place := k.create(t)
		seesDirtyPages(t, filepath.Dir(place))
		store, closeStore, err := k.open(t.Context(), place, nil)
		require.NoError(t, err)
		for _, record := range newRecords("disk", 0, byForm(1000, 50)) {
			require.NoError(t, store.Insert(context.Background(), 0, record))
			dirty, err := dirtyPages(place + "-wal")
			require.NoError(t, err)
			require.Zero(t, dirty, "pages of the WAL that are not on the disk")
		}
		require.NoError(t, closeStore())
	})
}

// seesDirtyPages tries out whether the kernel and the file system tell of
// dirty pages, and skips the test where they do not.
func seesDirtyPages(t *testing.T, directory string) {
	t.Helper()
	file, err := os.Create(filepath.Join(directory, "probe"))
	require.NoError(t, err)
	defer func() { assert.NoError(t, file.Close()) }()
	_, err = file.Write(make([]byte, 10_000))
	require.NoError(t, err)
	before, err := dirtyPages(file.Name())
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EOPNOTSUPP) {
		t.Skip("the kernel does not tell which pages are dirty: it needs cachestat, of Linux 6.5")
	}
	require.NoError(t, err)
	require.NoError(t, file.Sync())
	after, err := dirtyPages(file.Name())
	require.NoError(t, err)
	if before == 0 || after != 0 {
		t.Skipf("the file system of %s does not tell which pages are dirty", directory)
	}
}

// dirtyPages counts the pages of a file in the page cache that are not on
// the disk.
func dirtyPages(path string) (uint64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	// cachestat(2) has this number on every architecture but Alpha.
	const cachestat = 451
	whole := struct{ offset, length uint64 }{}
	var pages struct{ cached, dirty, writeback, evicted, recentlyEvicted uint64 }
	_, _, errno := syscall.Syscall6(cachestat, file.Fd(),
		uintptr(unsafe.Pointer(&whole)), uintptr(unsafe.Pointer(&pages)), 0, 0, 0)
	if err := file.Close(); err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, errno
	}
	return pages.dirty + pages.writeback, nil
}
