//go:build unix

package compose_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const examples = "../.."

// service is a service of compose.yaml.
type service struct {
	Build       struct{ Context, Dockerfile string }
	Command     []string
	Environment map[string]string
	Ports       []string
	Volumes     []string
	Healthcheck struct{ Test []string }
}

func readServices(t *testing.T) map[string]service {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, "compose.yaml"))
	require.NoError(t, err)
	var file struct {
		Services map[string]service
		Volumes  map[string]any
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	require.Contains(t, file.Services, "postoffice")
	require.Contains(t, file.Services, "shop")
	for name, s := range file.Services {
		assert.Equal(t, "..", s.Build.Context, name)
		assert.FileExists(t, filepath.Join(examples, s.Build.Context, s.Build.Dockerfile), name)
		require.Len(t, s.Ports, 1, name)
		require.Len(t, s.Volumes, 1, name)
		volume, place, _ := strings.Cut(s.Volumes[0], ":")
		assert.Contains(t, file.Volumes, volume)
		assert.Equal(t, "/data", place, "the directory that the image has")
	}
	return file.Services
}

// place is where a service runs on this machine instead of in a container.
type place struct {
	service
	image     image
	data      string // in the place of /data
	port      string // that of the service in its network
	localPort string // that of this machine
}

func newPlace(t *testing.T, s service, built image) place {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, local, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	published := strings.Split(s.Ports[0], ":")
	require.Len(t, published, 3)
	require.Equal(t, "127.0.0.1", published[0], "no other machine reaches it")
	require.Equal(t, published[1], published[2])
	return place{service: s, image: built, data: t.TempDir(), port: ":" + published[2], localPort: ":" + local}
}

// command returns a command of the service with the port and the directory that it
// has on this machine.
func (p place) command(t *testing.T, words []string, environment []string) *exec.Cmd {
	t.Helper()
	program := p.image.path("/usr/local/bin/" + words[0])
	require.FileExists(t, program)
	var args []string
	for _, word := range words[1:] {
		args = append(args, strings.ReplaceAll(strings.ReplaceAll(word, p.port, p.localPort), "/data", p.data))
	}
	command := exec.CommandContext(t.Context(), program, args...)
	command.Env = append([]string{"TMPDIR=" + t.TempDir()}, environment...)
	command.Dir = p.data
	return command
}

// start runs the service until the test ends, and returns when it has printed a
// text. It must end well on SIGTERM, which is how containers are stopped.
func (p place) start(t *testing.T, environment []string, says string) {
	t.Helper()
	require.Contains(t, p.Command, p.port, "it listens on the port that is published")
	for name, value := range p.Environment {
		environment = append(environment, name+"="+value)
	}
	command := p.command(t, p.Command, environment)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = time.Minute
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	command.Stderr = os.Stderr
	require.NoError(t, command.Start())
	reader := bufio.NewReader(output)
	t.Cleanup(func() {
		_, _ = io.Copy(io.Discard, reader) // until it has ended: the test's context is done
		assert.True(t, ended(command.Wait()), "%s ends with %v", p.Command[0], command.ProcessState)
	})
	for {
		line, err := reader.ReadString('\n')
		require.NoError(t, err, "%s has ended", p.Command[0])
		if strings.Contains(line, says) {
			return
		}
	}
}

// ended reports whether a program has ended well after its context was done.
func ended(err error) bool { return err == nil || errors.Is(err, context.Canceled) }

// newNetwork returns the address of an HTTP proxy in which services have their
// names.
func newNetwork(t *testing.T, places map[string]place) string {
	t.Helper()
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		for name, p := range places {
			if r.In.URL.Host == name+p.port {
				r.Out.URL.Host, r.Out.Host = "127.0.0.1"+p.localPort, r.In.Host
				return
			}
		}
		r.Out.URL.Host = "127.0.0.1:1" // nobody listens there
	}})
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// TestCompose builds the image and runs the services: an order reaches the server
// under its name in the network, and its page shows it.
func TestCompose(t *testing.T) {
	services := readServices(t)
	built := build(t, filepath.Join(examples, "Dockerfile"), filepath.Join(examples, ".."))
	places := map[string]place{}
	for name, s := range services {
		places[name] = newPlace(t, s, built)
	}
	environment := []string{"HTTP_PROXY=" + newNetwork(t, places)}

	server, shop := places["postoffice"], places["shop"]
	server.start(t, nil, "page and API")
	health := server.Healthcheck.Test
	require.Equal(t, "CMD", health[0])
	output, err := server.command(t, append(health[1:], "--wait", "1m"), nil).CombinedOutput()
	require.NoError(t, err, "%s", output)

	shop.start(t, environment, "listening on")
	status, body := ask(t, http.MethodPost, "http://127.0.0.1"+shop.localPort+"/orders", `{"number": 7}`)
	assert.Equal(t, http.StatusAccepted, status)
	assert.Equal(t, "order 7 is delivered\n", body)
	status, body = ask(t, http.MethodGet, "http://127.0.0.1"+server.localPort+"/dev/messages", "")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "orders")
}

// TestOriginHost compares the address at which the server's rescuer finds the app
// with where the app is.
func TestOriginHost(t *testing.T) {
	shop := readServices(t)["shop"]
	origin, err := url.Parse(shop.Environment["POSTOFFICE_ORIGIN_HOST"])
	require.NoError(t, err)
	_, port, _ := strings.Cut(strings.TrimPrefix(shop.Ports[0], "127.0.0.1:"), ":")
	assert.Equal(t, "shop:"+port, origin.Host)
	assert.NotNil(t, origin.User, "the recovery endpoint is not open to everybody")
}

func ask(t *testing.T, method, address, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	require.NoError(t, err)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err, "%s %s", method, address)
	return response.StatusCode, string(text)
}
