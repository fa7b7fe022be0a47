package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	driver "modernc.org/sqlite"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// pragma sets a pragma of the store's connection.
func pragma(t *testing.T, store *Store, text string) {
	t.Helper()
	require.NoError(t, store.read(t.Context(), func(w *writer) error {
		_, err := w.conn.ExecContext(context.Background(), "PRAGMA "+text)
		return err
	}))
}

// misses returns how many pages the connection has read from the file.
func misses(t *testing.T, store *Store) int {
	t.Helper()
	var count int
	require.NoError(t, store.read(t.Context(), func(w *writer) error {
		return w.conn.Raw(func(conn any) error {
			var err error
			count, _, err = conn.(driver.DBStatus).Status(driver.DBStatusCacheMiss, false)
			return err
		})
	}))
	return count
}

// TestDiskFull stands in a bound on the file's pages for the end of the disk:
// SQLite reports both alike.
func TestDiskFull(t *testing.T) {
	store := opened(t, file(t))
	ctx := t.Context()
	pragma(t, store, "max_page_count = 60")
	var accepted []string
	var err error
	for range 1000 {
		records := messages(t, 3)
		for i := range records {
			records[i].Payload = []byte(`{"x":"` + strings.Repeat("x", 1000*(i+1)) + `"}`)
		}
		if err = store.Insert(ctx, 0, records...); err != nil {
			break
		}
		for _, record := range records {
			accepted = append(accepted, record.ID)
		}
	}
	require.ErrorIs(t, err, outbox.ErrFull)
	assert.ErrorContains(t, err, "no space left")
	assert.ErrorContains(t, err, store.path)
	assert.NotContains(t, err.Error(), "xxx", "payloads are not in errors")
	assert.Equal(t, accepted, stored(t, store), "what was accepted is kept, and nothing else")
	stats, err := store.Stats(ctx)
	require.NoError(t, err)
	assert.Equal(t, len(accepted), stats.Pending)

	// Reading and what makes room go on.
	claimed, err := store.Claim(ctx, outbox.ClaimOptions{Limit: 1, Lease: time.Hour})
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	n, err := store.Delete(ctx, accepted[:12]...)
	require.NoError(t, err)
	assert.Equal(t, 12, n)
	require.NoError(t, store.Insert(ctx, 0, messages(t, 1)...), "there is room again")

	pragma(t, store, "max_page_count = 100000")
	require.NoError(t, store.Insert(ctx, 0, messages(t, 1000)...), "the cause is gone")
}

// TestDiskFullForOneOfAGroup shows that a record too large for what is left
// does not keep small ones out.
func TestDiskFullForOneOfAGroup(t *testing.T) {
	store := unserved(t)
	_, err := store.writer.conn.ExecContext(t.Context(), "PRAGMA max_page_count = 30")
	require.NoError(t, err)
	records := messages(t, 3)
	records[1].Payload = []byte(strings.Repeat(" ", 1_000_000))
	var group []*request
	for _, record := range records {
		group = append(group, inserting(t.Context(), record))
	}
	store.serve(group)
	require.NoError(t, <-group[0].done)
	require.ErrorIs(t, <-group[1].done, outbox.ErrFull)
	require.NoError(t, <-group[2].done)
	assert.Equal(t, []string{records[0].ID, records[2].ID}, kept(t, store))
}

// TestReadOnlyForAWhile stands in a pragma for a file system that is mounted
// read-only after an error: SQLite reports both alike.
func TestReadOnlyForAWhile(t *testing.T) {
	store := opened(t, file(t))
	records := messages(t, 2)
	require.NoError(t, store.Insert(t.Context(), 0, records[0]))
	pragma(t, store, "query_only = ON")
	err := store.Insert(t.Context(), 0, records[1])
	require.ErrorIs(t, err, fs.ErrPermission)
	assert.ErrorContains(t, err, store.path)
	assert.Equal(t, []string{records[0].ID}, stored(t, store))
	pragma(t, store, "query_only = OFF")
	require.NoError(t, store.Insert(t.Context(), 0, records[1]))
	require.NoError(t, store.Check(t.Context()))
}

// TestDamagedFiles overwrites parts of a file: what hits the damage says so,
// and nothing panics or hangs.
func TestDamagedFiles(t *testing.T) {
	path := file(t)
	store := opened(t, path)
	require.NoError(t, store.Insert(t.Context(), 0, messages(t, 200)...))
	require.NoError(t, store.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	const page = 4096
	require.Greater(t, len(whole), 20*page)

	damaged := 0
	for at := 0; at < len(whole); at += page {
		t.Run(fmt.Sprint("page", at/page), func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "copy.db")
			content := bytes.Clone(whole)
			for i := range page {
				content[at+i] = 0xa5
			}
			require.NoError(t, os.WriteFile(copied, content, 0o600))
			errs := exercise(t, copied)
			for _, err := range errs {
				if err != nil {
					damaged++
					assert.Contains(t, err.Error(), copied)
					assert.NotContains(t, err.Error(), "secret", "payloads are not in errors")
					assert.True(t, isAny(err, ErrCorrupt, ErrForeign), err)
				}
			}
		})
	}
	assert.Greater(t, damaged, len(whole)/page/2)

	t.Run("cut", func(t *testing.T) {
		copied := filepath.Join(t.TempDir(), "copy.db")
		require.NoError(t, os.WriteFile(copied, whole[:len(whole)/2], 0o600))
		for _, err := range exercise(t, copied) {
			if err != nil {
				assert.True(t, isAny(err, ErrCorrupt, ErrForeign), err)
			}
		}
	})
}

// exercise opens a file and calls every method.
func exercise(t *testing.T, path string) []error {
	ctx := t.Context()
	store, err := Open(ctx, path)
	if err != nil {
		return []error{err}
	}
	errs := make([]error, 7)
	errs[0] = store.Insert(ctx, 0, messages(t, 10)...)
	_, errs[1] = store.Claim(ctx, outbox.ClaimOptions{Limit: 1000, Lease: time.Hour})
	_, _, errs[2] = store.Next(ctx)
	_, errs[3] = store.Stats(ctx)
	_, errs[4] = store.List(ctx, outbox.Query{Limit: 1000})
	_, errs[5] = store.Retry(ctx, outbox.Selection{All: true})
	_, errs[6] = store.Discard(ctx, outbox.Selection{Topic: "orders"})
	return append(errs, store.Close())
}

// isAny reports whether an error is one of several.
func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
