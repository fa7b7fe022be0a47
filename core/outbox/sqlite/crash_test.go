package sqlite

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// crashFile is the environment variable that makes the test binary a process
// that inserts into the file it names until it is killed.
const crashFile = "OUTBOX_SQLITE_CRASH_FILE"

// insertForEver inserts records from several goroutines and prints the ID of
// each one that the store has accepted.
func insertForEver(path string) {
	ctx := context.Background()
	store, err := Open(ctx, path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var mutex sync.Mutex
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				record := outbox.Record{
					ID:         uuid.Must(uuid.NewV7()).String(),
					Topic:      "orders",
					Payload:    json.RawMessage(`{"padding":"` + string(make([]byte, rand.IntN(10_000))) + `"}`),
					Attributes: json.RawMessage(`{}`),
				}
				if err := store.Insert(ctx, 0, record); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				mutex.Lock()
				fmt.Println(record.ID)
				mutex.Unlock()
			}
		})
	}
	group.Wait()
}

// child starts a process that inserts into a file.
func child(t *testing.T, path string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), crashFile+"="+path)
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return command, bufio.NewReader(output)
}

// TestKilledProcessLosesNothing kills a process at a random moment, several
// times over, and finds every record that Insert had accepted.
func TestKilledProcessLosesNothing(t *testing.T) {
	path := file(t)
	var accepted []string
	for range 5 {
		command, output := child(t, path)
		killAfter := 1 + rand.IntN(200)
		for n := 0; ; n++ {
			if n == killAfter {
				require.NoError(t, command.Process.Kill())
			}
			line, err := output.ReadString('\n')
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			accepted = append(accepted, line[:len(line)-1])
		}
		require.Error(t, command.Wait(), "it was killed")

		store := opened(t, path)
		require.Subset(t, stored(t, store), accepted)
		var check string
		require.NoError(t, store.read(t.Context(), func(w *writer) error {
			_, err := w.row("PRAGMA integrity_check", nil, &check)
			return err
		}))
		assert.Equal(t, "ok", check)
		require.NoError(t, store.Close())
	}
	assert.NotEmpty(t, accepted)
}

func TestInUseByAnotherProcess(t *testing.T) {
	path := file(t)
	command, output := child(t, path)
	_, err := output.ReadString('\n')
	require.NoError(t, err)
	_, err = Open(t.Context(), path)
	require.ErrorIs(t, err, ErrInUse)
	assert.ErrorContains(t, err, path)

	// The lock goes with the process.
	require.NoError(t, command.Process.Kill())
	_, err = io.Copy(io.Discard, output)
	require.NoError(t, err)
	require.Error(t, command.Wait())
	assert.NotEmpty(t, stored(t, opened(t, path)))
}
