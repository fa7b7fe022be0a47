package testdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Galera is a cluster of MariaDB servers, each of which takes writes. Its methods
// must not be called concurrently.
type Galera struct {
	// Nodes are the servers. They can be killed, paused and started again; Start
	// joins the cluster, by a state transfer if the node has missed anything.
	Nodes     []*Server
	databases int
}

// galeraUUID is the state's, whose last part is the number of a node for its own.
const galeraUUID = "5bf976d7-ea34-11f1-aea2-%012d"

// NewGalera starts a cluster of so many nodes for one test, which takes about four
// seconds, and removes it when the test ends. Where MariaDB, its Galera library or
// rsync is not installed the test is skipped; with POSTOFFICE_CI=1 it fails.
func NewGalera(tb testing.TB, nodes int, options ...Option) *Galera {
	tb.Helper()
	library, err := galeraLibrary()
	need(tb, err)
	_, err = program("rsync", "/usr/bin")
	need(tb, err)
	ports := make([]int, nodes)
	addresses := make([]string, nodes)
	for i := range ports {
		if ports[i], err = freePort(tb.Context()); err != nil {
			tb.Fatalf("testdb: %v", err)
		}
		addresses[i] = local(ports[i])
	}
	first := galeraTemplate(tb, library)
	g := &Galera{Nodes: make([]*Server, nodes)}
	errs := make([]error, nodes)
	var starting sync.WaitGroup
	// They wait for each other.
	for i := range nodes {
		starting.Go(func() {
			o := newOptions(options)
			var settings [][2]string
			settings, errs[i] = galeraNode(tb.Context(), library, strings.Join(addresses, ","), ports[i])
			if errs[i] != nil {
				return
			}
			o.settings = append(settings, o.settings...)
			o.initialise = func(ctx context.Context, s *Server) error {
				if err := s.run(ctx, "/bin/cp", "-a", first, s.directory.data()); err != nil {
					return err
				}
				return s.write("gvwstate.dat", galeraView(i, nodes))
			}
			g.Nodes[i], errs[i] = newServer(tb.Context(), mariadb{}, o)
		})
	}
	starting.Wait()
	tb.Cleanup(func() {
		for _, node := range g.Nodes {
			if node == nil {
				continue
			}
			if err := node.discardAll(); err != nil {
				tb.Errorf("testdb: %v", err)
			}
		}
	})
	need(tb, errors.Join(errs...))
	g.AwaitSize(tb, nodes)
	return g
}

// local is an address on 127.0.0.1.
func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// galeraLibrary finds the library that replicates.
func galeraLibrary() (string, error) {
	for _, pattern := range []string{"/usr/lib/galera*/libgalera_smm.so", "/usr/lib64/galera*/libgalera_smm.so"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", &missingError{"needs Galera: libgalera_smm.so is not installed"}
}

// galeraNode are the settings of a node that others reach at a port.
func galeraNode(ctx context.Context, library, cluster string, port int) ([][2]string, error) {
	transfer, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	increment, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	// A node that is gone is noticed after a second instead of five, and a statement
	// that waits by wsrep_sync_wait meanwhile is given up after two instead of 30.
	provider := fmt.Sprintf("base_host=127.0.0.1;base_port=%d;gmcast.listen_addr=tcp://127.0.0.1:%d;ist.recv_addr=127.0.0.1:%d;"+
		"gcache.size=16M;evs.keepalive_period=PT0.2S;evs.inactive_check_period=PT0.2S;evs.suspect_timeout=PT1S;"+
		"evs.inactive_timeout=PT3S;evs.install_timeout=PT3S;repl.causal_read_timeout=PT2S", port, port, increment)
	return [][2]string{
		{"binlog-format", "ROW"},
		{"innodb-autoinc-lock-mode", "2"},
		{"wsrep-on", "ON"},
		{"wsrep-provider", library},
		{"wsrep-provider-options", provider},
		{"wsrep-cluster-name", "testdb"},
		{"wsrep-cluster-address", "gcomm://" + cluster},
		{"wsrep-node-address", local(port)},
		{"wsrep-sst-method", "rsync"},
		{"wsrep-sst-receive-address", local(transfer)},
	}, nil
}

// galeraTemplate makes the data with which every node begins, and returns their
// directory: those of a cluster of one node that was shut down.
func galeraTemplate(tb testing.TB, library string) string {
	tb.Helper()
	port, err := freePort(tb.Context())
	if err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	settings, err := galeraNode(tb.Context(), library, "", port)
	if err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	server := newOwn(tb, mariadb{}, []Option{func(o *options) { o.settings = settings }})
	server.Stop(tb)
	for _, file := range []string{"galera.cache", "gvwstate.dat"} {
		_ = os.Remove(filepath.Join(server.directory.data(), file)) // a node makes its own
	}
	return server.directory.data()
}

// galeraView is what a node notes of the cluster of which it is a part, so that
// nodes that have lost power find each other again, with nothing to transfer.
func galeraView(node, nodes int) string {
	var view strings.Builder
	fmt.Fprintf(&view, "my_uuid: "+galeraUUID+"\n#vwbeg\nview_id: 3 "+galeraUUID+" 1\nbootstrap: 0\n", node+1, 1)
	for i := range nodes {
		fmt.Fprintf(&view, "member: "+galeraUUID+" 0\n", i+1)
	}
	view.WriteString("#vwend\n")
	return view.String()
}

// write writes a file of the data directory that belongs to who runs the server.
func (s *Server) write(name, text string) error {
	path := filepath.Join(s.directory.data(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil || s.directory.owner == nil {
		return err
	}
	return os.Chown(path, int(s.directory.owner.Uid), int(s.directory.owner.Gid))
}

// discardAll is discard for a server that may have helpers at work, such as those
// of a state transfer.
func (s *Server) discardAll() error {
	s.mutex.Lock()
	var err error
	if s.process.running() {
		err = s.process.killAll()
	}
	s.mutex.Unlock()
	return errors.Join(err, s.discard())
}

// Create makes an empty database on all nodes and returns its data source names, a
// node's each. It is removed with the cluster.
func (g *Galera) Create(tb testing.TB) []string {
	tb.Helper()
	g.databases++
	name := fmt.Sprintf("test_%d", g.databases)
	if err := g.Nodes[0].create(tb.Context(), name); err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	dsns := make([]string, len(g.Nodes))
	for i, node := range g.Nodes {
		query := "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '" + name + "'"
		if err := awaitAnswer(tb.Context(), node, query, "1"); err != nil {
			tb.Fatalf("testdb: %v", err)
		}
		dsns[i] = node.engine.dsn(node.port, name)
	}
	return dsns
}

// Addresses are those of the nodes, for [NewProxy].
func (g *Galera) Addresses() []string {
	list := make([]string, len(g.Nodes))
	for i, node := range g.Nodes {
		list[i] = node.Address()
	}
	return list
}

// AwaitSize waits until each node that runs, is not isolated and has a quorum sees
// so many nodes and is in step with them.
func (g *Galera) AwaitSize(tb testing.TB, size int) {
	tb.Helper()
	for _, node := range g.Nodes {
		if node.Pid() == 0 {
			continue
		}
		for name, want := range map[string]string{"wsrep_cluster_size": strconv.Itoa(size), "wsrep_ready": "ON"} {
			g.awaitStatus(tb, node, name, want)
		}
	}
}

// awaitStatus waits until a status variable of a node has a value. A node without
// a quorum answers this as well.
func (g *Galera) awaitStatus(tb testing.TB, node *Server, name, want string) {
	tb.Helper()
	query := "SELECT variable_value FROM information_schema.global_status WHERE variable_name = '" + name + "'"
	if err := awaitAnswer(tb.Context(), node, query, want); err != nil {
		tb.Fatalf("testdb: %v", err)
	}
}

// Isolate cuts a node off from the others, as a network does that is partitioned,
// and waits until it and the others have noticed. Clients reach it, and it refuses
// their statements.
func (g *Galera) Isolate(tb testing.TB, node *Server) {
	tb.Helper()
	g.provide(tb, node, "gmcast.isolate=1")
	g.awaitStatus(tb, node, "wsrep_ready", "OFF")
	var others []*Server
	for _, other := range g.Nodes {
		if other != node && other.Pid() != 0 {
			others = append(others, other)
		}
	}
	for _, other := range others {
		g.awaitStatus(tb, other, "wsrep_cluster_size", strconv.Itoa(len(others)))
	}
}

// Reconnect ends Isolate and waits until the node is in step again.
func (g *Galera) Reconnect(tb testing.TB, node *Server) {
	tb.Helper()
	g.provide(tb, node, "gmcast.isolate=0")
	g.awaitStatus(tb, node, "wsrep_ready", "ON")
}

// Bootstrap makes a cluster of a node that has lost the quorum. Others that run
// join it.
func (g *Galera) Bootstrap(tb testing.TB, node *Server) {
	tb.Helper()
	g.provide(tb, node, "pc.bootstrap=YES")
	g.awaitStatus(tb, node, "wsrep_ready", "ON")
}

// AwaitNoQuorum waits until a node knows that it has no quorum.
func (g *Galera) AwaitNoQuorum(tb testing.TB, node *Server) {
	tb.Helper()
	g.awaitStatus(tb, node, "wsrep_ready", "OFF")
}

func (g *Galera) provide(tb testing.TB, node *Server, option string) {
	tb.Helper()
	if err := command(tb.Context(), node, "SET GLOBAL wsrep_provider_options = '"+option+"'"); err != nil {
		tb.Fatalf("testdb: %s: %v", option, err)
	}
}
