package devserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/pagetest"
)

// childFile is the environment variable that makes the test binary run a development
// server with this file.
const childFile = "POSTOFFICE_TEST_DEVSERVER_FILE"

// child runs the server if childFile is set.
func child() {
	file := os.Getenv(childFile)
	if file == "" {
		return
	}
	err := Run(context.Background(), Options{
		Addr: "127.0.0.1:0", File: file, MaxRetryGap: MinRetryGap,
		Started: func(url string) { fmt.Println(url) },
	})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// startChild starts the server in a process of its own, which is killed when the test
// ends at the latest.
func startChild(t *testing.T, file string) (s *running, kill func()) {
	t.Helper()
	command := exec.CommandContext(context.Background(), os.Args[0])
	command.Env = append(os.Environ(), childFile+"="+file)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	kill = sync.OnceFunc(func() {
		_ = command.Process.Kill() // it may have exited
		_ = command.Wait()         // the error is that it was killed
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	return &running{t: t, url: strings.TrimSpace(line), client: newClient(t)}, kill
}

// Messages accepted with 201 survive a kill at any moment, the file is never damaged, and
// no message-id is used for two messages.
func TestKill(t *testing.T) {
	const rounds, publishers, before = 4, 4, 40
	file := filepath.Join(t.TempDir(), "dev.db")
	consumer := pagetest.NewConsumer(t, 200)
	var lock sync.Mutex
	accepted := make(map[string]bool)
	for round := range rounds {
		s, kill := startChild(t, file)
		if round == 0 {
			s.addTopic("orders", consumer.URL)
		}
		var count atomic.Int32
		var work sync.WaitGroup
		for publisher := range publishers {
			work.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("r%d-p%d-%d", round, publisher, i)
					request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/messages",
						strings.NewReader(`{"topic":"orders","payload":{"name":"`+name+`"},"attributes":{}}`))
					if err != nil {
						return
					}
					request.Header.Set("Content-Type", "application/json")
					response, err := s.client.Do(request)
					if err != nil {
						return // killed
					}
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
					if response.StatusCode == http.StatusCreated {
						lock.Lock()
						accepted[name] = true
						lock.Unlock()
						count.Add(1)
					}
				}
			})
		}
		eventually(t, func() bool { return count.Load() >= before }, "messages are accepted")
		kill()
		work.Wait()
		checkIntegrity(t, file)
	}
	require.GreaterOrEqual(t, len(accepted), rounds*before)

	s, _ := startChild(t, file)
	eventually(t, func() bool { return !strings.Contains(s.get("/"), "waiting") }, "all is delivered")
	byID := make(map[string]string)
	var delivered strings.Builder
	for _, message := range consumer.Received() {
		if other, known := byID[message.ID]; known {
			require.Equal(t, other, message.Body, "message-id %s", message.ID)
		}
		byID[message.ID] = message.Body
		delivered.WriteString(message.Body + "\n")
	}
	for name := range accepted {
		assert.Contains(t, delivered.String(), `"`+name+`"`)
	}
}

func checkIntegrity(t *testing.T, path string) {
	t.Helper()
	opened, err := openFile(t.Context(), path)
	require.NoError(t, err)
	defer func() { require.NoError(t, opened.close()) }()
	var result string
	require.NoError(t, opened.db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&result))
	require.Equal(t, "ok", result)
	_, err = opened.load(t.Context())
	require.NoError(t, err)
}
