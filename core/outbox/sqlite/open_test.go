package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

func TestOpenArguments(t *testing.T) {
	ctx := t.Context()
	for name, open := range map[string]func() (*Store, error){
		"empty path":     func() (*Store, error) { return Open(ctx, "") },
		":memory:":       func() (*Store, error) { return Open(ctx, ":memory:") },
		"file: URI":      func() (*Store, error) { return Open(ctx, "file:outbox.db") },
		"WithMaxRecords": func() (*Store, error) { return Open(ctx, file(t), WithMaxRecords(-1)) },
		"WithMaxBytes":   func() (*Store, error) { return Open(ctx, file(t), WithMaxBytes(-1)) },
		"nil option":     func() (*Store, error) { return Open(ctx, file(t), nil) },
	} {
		store, err := open()
		assert.Nil(t, store, name)
		require.ErrorIs(t, err, outbox.ErrInvalid, name)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err := Open(cancelled, file(t))
	require.ErrorIs(t, err, context.Canceled)
}

func TestPathsOfAnyCharacters(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a b.db", "100%.db", "a?mode=memory", "a#b", "%41.db", "żółć", "a&b=c", "a'b\"c", "a+b;c"} {
		path := filepath.Join(dir, name)
		store := opened(t, path)
		require.NoError(t, store.Insert(t.Context(), 0, message(t)))
		require.NoError(t, store.Close())
		info, err := os.Stat(path)
		require.NoError(t, err, "the file has the very name that was asked for")
		assert.Positive(t, info.Size())
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 9)
}

func TestRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	store := opened(t, "outbox.db")
	t.Chdir(t.TempDir())
	require.NoError(t, store.Check(t.Context()), "where the process is later does not matter")
}

func TestFiles(t *testing.T) {
	path := file(t)
	names := func() (names []string) {
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		for _, entry := range entries {
			names = append(names, entry.Name())
			info, err := entry.Info()
			require.NoError(t, err)
			if runtime.GOOS != "windows" {
				assert.Equal(t, fs.FileMode(0o600), info.Mode(), "%s is private", entry.Name())
			}
		}
		return names
	}
	store := opened(t, path)
	require.NoError(t, store.Insert(t.Context(), 0, message(t)))
	assert.Equal(t, []string{"outbox.db", "outbox.db-wal"}, names())
	require.NoError(t, store.Close())
	assert.Equal(t, []string{"outbox.db"}, names())
}

func TestPermissionsOfAnExistingFileAreKept(t *testing.T) {
	path := file(t)
	require.NoError(t, os.WriteFile(path, nil, 0o640))
	require.NoError(t, opened(t, path).Insert(t.Context(), 0, message(t)))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o640), info.Mode())
}

func TestLinkToAFileThatIsMissing(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target.db")
	require.NoError(t, os.Symlink(target, filepath.Join(dir, "outbox.db")))
	require.NoError(t, opened(t, filepath.Join(dir, "outbox.db")).Insert(t.Context(), 0, message(t)))
	info, err := os.Stat(target)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode())
}

func TestInUseInThisProcess(t *testing.T) {
	path := file(t)
	first := opened(t, path)
	for range 3 {
		_, err := Open(t.Context(), path)
		require.ErrorIs(t, err, ErrInUse)
		assert.ErrorContains(t, err, path)
		assert.ErrorContains(t, err, "in use by another")
	}
	require.NoError(t, first.Insert(t.Context(), 0, message(t)), "the first goes on")
	require.NoError(t, first.Close())
	assert.Len(t, stored(t, opened(t, path)), 1)
}

// TestOpenAtTheSameMoment also shows that the losers, which have had the file
// open, do not drop the winner's lock.
func TestOpenAtTheSameMoment(t *testing.T) {
	for range 5 {
		path := file(t)
		stores := make([]*Store, 8)
		errs := make([]error, len(stores))
		var group sync.WaitGroup
		for i := range stores {
			group.Go(func() { stores[i], errs[i] = Open(t.Context(), path) })
		}
		group.Wait()
		won := 0
		for i, store := range stores {
			if store == nil {
				require.ErrorIs(t, errs[i], ErrInUse)
				continue
			}
			won++
			require.NoError(t, store.Insert(t.Context(), 0, message(t)))
			defer func() { require.NoError(t, store.Close()) }()
		}
		assert.LessOrEqual(t, won, 1)
		command, _ := child(t, path)
		if won == 1 {
			require.Error(t, command.Wait(), "another process is kept out")
		}
	}
}

func TestMissingDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "outbox.db")
	_, err := Open(t.Context(), path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "directory of the file is missing")
	assert.ErrorContains(t, err, path)
}

// unprivileged skips the test where permissions do not hold.
func unprivileged(t *testing.T) {
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		t.Skip("permissions do not keep this user out")
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	unprivileged(t)
	path := file(t)
	dir := filepath.Dir(path)
	require.NoError(t, os.Chmod(dir, 0o500))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	_, err := Open(t.Context(), path)
	require.ErrorIs(t, err, fs.ErrPermission)
	assert.ErrorContains(t, err, path)

	// A file that is there does not help: the WAL cannot be made.
	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, opened(t, path).Close())
	require.NoError(t, os.Chmod(dir, 0o500))
	_, err = Open(t.Context(), path)
	require.ErrorIs(t, err, fs.ErrPermission)
	assert.ErrorContains(t, err, path)
}

func TestReadOnlyFile(t *testing.T) {
	unprivileged(t)
	path := file(t)
	require.NoError(t, opened(t, path).Close())
	for _, mode := range []fs.FileMode{0o400, 0o000} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := Open(t.Context(), path)
		assert.ErrorContains(t, err, "permission")
		assert.ErrorContains(t, err, path)
		assert.Equal(t, mode == 0o400, errors.Is(err, fs.ErrPermission))
	}
	require.NoError(t, os.Chmod(path, 0o600))
	opened(t, path)
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	long := filepath.Join(dir, "long")
	require.NoError(t, os.WriteFile(text, []byte("hello"), 0o600))
	require.NoError(t, os.WriteFile(long, make([]byte, 100_000), 0o600))
	other := filepath.Join(dir, "other.db")
	db, err := sql.Open("sqlite", other)
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE users (name TEXT); INSERT INTO users VALUES ('a')")
	require.NoError(t, err)
	require.NoError(t, db.Close())

	versioned := filepath.Join(dir, "versioned.db")
	db, err = sql.Open("sqlite", versioned)
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE users (name TEXT); PRAGMA user_version = 1")
	require.NoError(t, err)
	require.NoError(t, db.Close())

	for _, path := range []string{text, long, other, versioned, dir} {
		before, _ := os.ReadFile(path)
		_, err := Open(t.Context(), path)
		require.ErrorIs(t, err, ErrForeign, path)
		assert.ErrorContains(t, err, path)
		after, _ := os.ReadFile(path)
		assert.Equal(t, before, after, "the file is left alone")
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 4, "nothing was put beside them")
}

func TestNewerFile(t *testing.T) {
	path := file(t)
	require.NoError(t, opened(t, path).Close())
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.Exec(fmt.Sprintf("PRAGMA user_version = %d", len(migrations)+1))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	_, err = Open(t.Context(), path)
	require.ErrorIs(t, err, ErrNewer)
	assert.ErrorContains(t, err, path)
	assert.ErrorContains(t, err, fmt.Sprintf("version %d", len(migrations)+1))
}

func TestSettings(t *testing.T) {
	store := opened(t, file(t))
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "locking_mode": "exclusive", "busy_timeout": "0",
		"application_id": fmt.Sprint(applicationID), "user_version": fmt.Sprint(len(migrations)),
	} {
		var got string
		require.NoError(t, store.read(t.Context(), func(w *writer) error {
			_, err := w.row("PRAGMA "+pragma, nil, &got)
			return err
		}))
		assert.Equal(t, want, got, pragma)
	}
}

func TestCheckSeesThatTheFileIsGone(t *testing.T) {
	path := file(t)
	store, err := Open(t.Context(), path)
	require.NoError(t, err)
	defer func() { _ = store.Close() }()
	require.NoError(t, store.Check(t.Context()))
	moved := path + ".moved"
	require.NoError(t, os.Rename(path, moved))
	require.ErrorIs(t, store.Check(t.Context()), fs.ErrNotExist)
	require.NoError(t, os.Rename(moved, path))
	require.ErrorIs(t, store.Check(t.Context()), ErrLost, "it stays so until the store is opened anew")
	require.NoError(t, store.Close())
	require.NoError(t, opened(t, path).Check(t.Context()))
}

func TestManyRecordsAreCountedAtOpening(t *testing.T) {
	path := file(t)
	store := opened(t, path)
	records := messages(t, 1000)
	require.NoError(t, store.Insert(t.Context(), time.Hour, records...))
	require.NoError(t, store.Close())
	stats, err := opened(t, path).Stats(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1000, stats.Pending)
	assert.Equal(t, 1000*records[0].Size(), stats.Bytes)
}
