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

// Galera is a cluster of MariaDB servers that all accept writes. Its methods must
// not be called concurrently.
type Galera struct {
	// Nodes are the servers. They can be killed, paused and started again; Start
	// joins the cluster, with a state transfer if the node has missed changes.
	Nodes     []*Server
	databases int
}

// galeraUUID is the UUID of the state. With the number of a node in its last part it
// is the node's.
const galeraUUID = "5bf976d7-ea34-11f1-aea2-%012d"

// NewGalera starts a cluster for one test, which takes about four seconds, and
// removes it when the test ends. If MariaDB, its Galera library or rsync is not
// installed, the test is skipped, or fails with POSTOFFICE_CI=1.
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
	// The nodes wait for each other.
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

// local returns an address on 127.0.0.1.
func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// galeraLibrary finds the replication library.
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

// galeraNode returns the settings of a node whose replication uses a port.
func galeraNode(ctx context.Context, library, cluster string, port int) ([][2]string, error) {
	transfer, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	increment, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	// A lost node is noticed after one second instead of five, and a statement that
	// waits by wsrep_sync_wait fails after two seconds instead of 30.
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

// galeraTemplate creates the initial data of all nodes and returns their directory:
// the data of a cluster with one node that was shut down.
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
		_ = os.Remove(filepath.Join(server.directory.data(), file)) // a node creates its own
	}
	return server.directory.data()
}

// galeraView returns a node's record of its cluster, so that the nodes find each
// other like after a power failure, without a state transfer.
func galeraView(node, nodes int) string {
	var view strings.Builder
	fmt.Fprintf(&view, "my_uuid: "+galeraUUID+"\n#vwbeg\nview_id: 3 "+galeraUUID+" 1\nbootstrap: 0\n", node+1, 1)
	for i := range nodes {
		fmt.Fprintf(&view, "member: "+galeraUUID+" 0\n", i+1)
	}
	view.WriteString("#vwend\n")
	return view.String()
}

// write writes a file of the data directory, owned by the user of the server.
func (s *Server) write(name, text string) error {
	path := filepath.Join(s.directory.data(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil || s.directory.owner == nil {
		return err
	}
	return os.Chown(path, int(s.directory.owner.Uid), int(s.directory.owner.Gid))
}

// discardAll is discard for a server that may have running child processes, such as
// those of a state transfer.
func (s *Server) discardAll() error {
	s.mutex.Lock()
	var err error
	if s.process.running() {
		err = s.process.killAll()
	}
	s.mutex.Unlock()
	return errors.Join(err, s.discard())
}

// Create creates an empty database on all nodes and returns its data source names,
// one for each node. It is removed with the cluster.
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

// Addresses returns the addresses of the nodes, for [NewProxy].
func (g *Galera) Addresses() []string {
	list := make([]string, len(g.Nodes))
	for i, node := range g.Nodes {
		list[i] = node.Address()
	}
	return list
}

// AwaitSize waits until each node that is running, not isolated and has a quorum
// sees size nodes and is in step with them.
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

// awaitStatus waits until a status variable of a node has a value. A node without a
// quorum can be queried, too.
func (g *Galera) awaitStatus(tb testing.TB, node *Server, name, want string) {
	tb.Helper()
	query := "SELECT variable_value FROM information_schema.global_status WHERE variable_name = '" + name + "'"
	if err := awaitAnswer(tb.Context(), node, query, want); err != nil {
		tb.Fatalf("testdb: %v", err)
	}
}

// Isolate disconnects a node from the others, like a network partition, and waits
// until all have noticed. Clients can connect to the node, and it rejects their
// statements.
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

// Reconnect undoes Isolate and waits until the node is in step again.
func (g *Galera) Reconnect(tb testing.TB, node *Server) {
	tb.Helper()
	g.provide(tb, node, "gmcast.isolate=0")
	g.awaitStatus(tb, node, "wsrep_ready", "ON")
}

// Bootstrap makes a node that has lost the quorum a new cluster. Other running nodes
// join it.
func (g *Galera) Bootstrap(tb testing.TB, node *Server) {
	tb.Helper()
	g.provide(tb, node, "pc.bootstrap=YES")
	g.awaitStatus(tb, node, "wsrep_ready", "ON")
}

// AwaitNoQuorum waits until a node has noticed that it has no quorum.
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
