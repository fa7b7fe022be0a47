package sqlite

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	driver "modernc.org/sqlite"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// posix skips a test where files that are open cannot be removed or renamed.
func posix(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the system does not let go of files that are open")
	}
}

// replace puts another file in the place of one.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", content, 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// losses are ways to take the files from a store, by the file that is named
// afterwards and whether its content has gone too.
var losses = map[string]struct {
	take        func(t *testing.T, path string)
	file        string
	overwritten bool
}{
	"database removed": {func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) }, "", false},
	"both removed": {func(t *testing.T, path string) {
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Remove(path+"-wal"))
	}, "", false},
	"directory removed": {func(t *testing.T, path string) { require.NoError(t, os.RemoveAll(filepath.Dir(path))) }, "", false},
	"directory renamed": {func(t *testing.T, path string) {
		require.NoError(t, os.Rename(filepath.Dir(path), filepath.Dir(path)+".old"))
	}, "", false},
	"database renamed":  {func(t *testing.T, path string) { require.NoError(t, os.Rename(path, path+".old")) }, "", false},
	"database replaced": {func(t *testing.T, path string) { replace(t, path, nil) }, "", false},
	"database restored": {func(t *testing.T, path string) {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		replace(t, path, content)
	}, "", false},
	"database emptied": {func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) }, "", true},
	"database cut":     {func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 4096)) }, "", true},
	"database written over": {func(t *testing.T, path string) {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = file.Write(make([]byte, 1<<20))
		require.NoError(t, err)
		require.NoError(t, file.Close())
	}, "", true},
	"log removed":  {func(t *testing.T, path string) { require.NoError(t, os.Remove(path+"-wal")) }, "-wal", false},
	"log replaced": {func(t *testing.T, path string) { replace(t, path+"-wal", nil) }, "-wal", false},
	"log emptied":  {func(t *testing.T, path string) { require.NoError(t, os.Truncate(path+"-wal", 0)) }, "-wal", true},
	"log cut": {func(t *testing.T, path string) {
		info, err := os.Stat(path + "-wal")
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path+"-wal", info.Size()-1))
	}, "-wal", true},
}

// exploited opens a store of some records, of which the database and the log
// hold a part each, in a directory of its own.
func exploited(t *testing.T) (*Store, []outbox.Record) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app", "outbox.db")
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
	records := messages(t, 20)
	first, err := Open(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, first.Insert(t.Context(), 0, records[:10]...))
	require.NoError(t, first.Close())
	store, err := Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() }) // damaged files may make it fail
	require.NoError(t, store.Insert(t.Context(), 0, records[10:]...))
	require.NoError(t, store.Check(t.Context()))
	require.NoError(t, store.Failed())
	return store, records
}

// TestLostFiles takes a store's files: it accepts nothing afterwards, not even
// when they are put back, says which file and what to do, and no record that it
// refused is in it.
func TestLostFiles(t *testing.T) {
	posix(t)
	for name, test := range losses {
		t.Run(name, func(t *testing.T) {
			store, records := exploited(t)
			test.take(t, store.path)
			refused := message(t)
			for _, err := range []error{
				store.Insert(t.Context(), 0, refused),
				store.Check(t.Context()),
				store.Failed(),
				store.Insert(t.Context(), 0, messages(t, 3)...),
			} {
				require.ErrorIs(t, err, ErrLost)
				assert.ErrorContains(t, err, store.path+test.file+" was ")
				assert.ErrorContains(t, err, "restart")
				assert.NotContains(t, err.Error(), "secret", "payloads are not in errors")
			}
			claimed, err := store.Claim(t.Context(), outbox.ClaimOptions{Limit: 100, Lease: time.Hour})
			if test.overwritten {
				require.ErrorIs(t, err, ErrLost)
				return
			}
			// What the store still has open can be delivered.
			require.NoError(t, err)
			ids := make([]string, 0, len(claimed))
			for _, record := range claimed {
				ids = append(ids, record.ID)
			}
			assert.Len(t, ids, len(records))
			assert.NotContains(t, ids, refused.ID)
			n, err := store.Delete(t.Context(), ids...)
			require.NoError(t, err)
			assert.Equal(t, len(records), n)
		})
	}
}

// TestLostInATransaction takes the database while a transaction of several calls
// runs: the insert in it is undone, and the deletion beside it is not.
func TestLostInATransaction(t *testing.T) {
	posix(t)
	store := unserved(t)
	first, second := message(t), message(t)
	require.NoError(t, store.writer.transact(func() error {
		err := store.writer.insertAll(0, []outbox.Record{first}, make([]bool, 1))
		return err
	}))
	inserted := inserting(t.Context(), second)
	inserted.keeps = true
	taking := &request{ctx: t.Context(), done: make(chan error, 1), run: func(w *writer) error {
		if err := os.Remove(store.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return w.exec(discardRecord, 1)
	}}
	store.serve([]*request{inserted, taking})
	require.ErrorIs(t, <-inserted.done, ErrLost)
	require.NoError(t, <-taking.done)
	assert.Empty(t, kept(t, store))
}

// TestLostInACommit takes the database while SQLite commits: the insert is told.
func TestLostInACommit(t *testing.T) {
	posix(t)
	store := unserved(t)
	require.NoError(t, store.writer.conn.Raw(func(conn any) error {
		conn.(driver.HookRegisterer).RegisterCommitHook(func() int32 {
			assert.NoError(t, os.Remove(store.path))
			return 0
		})
		return nil
	}))
	inserted := inserting(t.Context(), message(t))
	inserted.keeps = true
	store.serve([]*request{inserted})
	require.ErrorIs(t, <-inserted.done, ErrLost)
}

// TestLostLogIsSecured removes the write-ahead log and kills the store: all that
// was accepted is in the database.
func TestLostLogIsSecured(t *testing.T) {
	posix(t)
	store, records := exploited(t)
	require.NoError(t, os.Remove(store.path+"-wal"))
	require.ErrorIs(t, store.Insert(t.Context(), 0, message(t)), ErrLost)

	// What is on the disk now is what a process finds that starts after a kill.
	copied := filepath.Join(t.TempDir(), "copy.db")
	content, err := os.ReadFile(store.path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(copied, content, 0o600))
	var ids []string
	for _, record := range records {
		ids = append(ids, record.ID)
	}
	assert.Equal(t, ids, stored(t, opened(t, copied)))
	require.NoError(t, store.Close())
	assert.Equal(t, ids, stored(t, opened(t, store.path)), "closing completes it")
}

// TestLostByRestart shows that a store whose file was removed does not harm the
// one that is in its place when it is closed.
func TestLostByRestart(t *testing.T) {
	posix(t)
	old, _ := exploited(t)
	require.NoError(t, os.Remove(old.path))
	require.NoError(t, os.Remove(old.path+"-wal"))
	fresh := opened(t, old.path)
	record := message(t)
	require.NoError(t, fresh.Insert(t.Context(), 0, record))
	require.ErrorIs(t, old.Insert(t.Context(), 0, message(t)), ErrLost)
	_ = old.Close()
	require.NoError(t, fresh.Check(t.Context()))
	require.NoError(t, fresh.Insert(t.Context(), 0, message(t)))
	require.NoError(t, fresh.Close())
	assert.Contains(t, stored(t, opened(t, old.path)), record.ID)
}

// TestFilesThatGrowAndShrink shows that what SQLite does to its files is no
// loss: transactions larger than its cache, checkpoints, and the log that is cut
// when it begins anew.
func TestFilesThatGrowAndShrink(t *testing.T) {
	store := opened(t, file(t))
	large := strings.Repeat(" ", 1_000_000)
	most := int64(0)
	for range 2 {
		records := messages(t, journalLimit/1_000_000+20)
		for i := range records {
			records[i].Payload = []byte(`{"x":"` + large + `"}`)
		}
		require.NoError(t, store.Insert(t.Context(), 0, records...))
		info, err := os.Stat(store.path + "-wal")
		require.NoError(t, err)
		most = max(most, info.Size())
		require.NoError(t, store.Insert(t.Context(), 0, message(t)))
	}
	info, err := os.Stat(store.path + "-wal")
	require.NoError(t, err)
	assert.Greater(t, most, int64(journalLimit))
	assert.LessOrEqual(t, info.Size(), most)
	n, err := store.Discard(t.Context(), outbox.Selection{All: true})
	require.NoError(t, err)
	assert.NotZero(t, n)
	require.NoError(t, store.Check(t.Context()))
}

// TestLinkedFile shows that the log is found where SQLite puts it when the path
// is a link, and that a link to another file is a loss.
func TestLinkedFile(t *testing.T) {
	posix(t)
	target, link := file(t), filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, opened(t, target).Close())
	require.NoError(t, os.Symlink(target, link))
	store := opened(t, link)
	require.NoError(t, store.Insert(t.Context(), 0, message(t)))
	other := file(t)
	require.NoError(t, os.WriteFile(other, nil, 0o600))
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(other, link))
	require.ErrorIs(t, store.Insert(t.Context(), 0, message(t)), ErrLost)
}

// TestKilledAfterALoss removes the file under a process that inserts: each
// record that it reported was accepted before it noticed.
func TestKilledAfterALoss(t *testing.T) {
	posix(t)
	path := file(t)
	command, output := child(t, path)
	_, err := output.ReadString('\n')
	require.NoError(t, err)
	kept := filepath.Join(filepath.Dir(path), "kept.db")
	require.NoError(t, os.Link(path, kept))
	require.NoError(t, os.Link(path+"-wal", kept+"-wal"))
	require.NoError(t, os.Remove(path))
	rest, err := io.ReadAll(output)
	require.NoError(t, err, "the process ends by the error of Insert")
	require.Error(t, command.Wait())
	assert.Subset(t, stored(t, opened(t, kept)), strings.Fields(string(rest)), "what it has accepted is in the file that it had open")
}
