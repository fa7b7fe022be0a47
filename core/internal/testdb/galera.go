package testdb

import (
	"context"
	"database/sql"
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
	// Nodes are the servers. Methods of the cluster kill and restart them.
	Nodes     []*Server
	databases int
}

// galeraUUID is the UUID of the state. With the number of a node in its last part it
// is the node's.
const galeraUUID = "5bf976d7-ea34-11f1-aea2-%012d"

// NewGalera starts a cluster for one test, which takes about ten seconds, and
// removes it when the test ends. If MariaDB, its Galera library or rsync is not
// installed, the test is skipped, or fails with POSTOFFICE_CI=1.
func NewGalera(tb testing.TB, nodes int, options ...Option) *Galera {
	tb.Helper()
	library, err := galeraLibrary()
	need(tb, err)
	_, err = program("rsync", "/usr/bin")
	need(tb, err)
	first := galeraTemplate(tb, library)
	g := new(Galera)
	tb.Cleanup(func() {
		if err := g.discard(); err != nil {
			tb.Errorf("testdb: %v", err)
		}
	})
	// A node ends if another process takes one of its ports before it does.
	for range galeraAttempts {
		if err = g.start(tb.Context(), library, first, nodes, options); err == nil {
			return g
		}
		tb.Logf("testdb: the cluster did not start: %v", err)
		err = errors.Join(err, g.discard())
	}
	need(tb, err)
	return g
}

// galeraAttempts is how often the start of a cluster is tried.
const galeraAttempts = 3

// start starts the nodes concurrently, because they wait for each other. It returns
// when all nodes are in step, or when one has failed.
func (g *Galera) start(ctx context.Context, library, first string, nodes int, options []Option) error {
	ports := make([]int, nodes)
	for i := range ports {
		var err error
		if ports[i], err = freePort(ctx); err != nil {
			return err
		}
	}
	g.Nodes = make([]*Server, nodes)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, nodes)
	var starting sync.WaitGroup
	for i := range nodes {
		starting.Go(func() {
			o := newOptions(options)
			o.initialise = func(ctx context.Context, s *Server) error {
				if err := s.run(ctx, "/bin/cp", "-a", first, s.directory.data()); err != nil {
					return err
				}
				return s.write("gvwstate.dat", galeraView(i, nodes))
			}
			var settings [][2]string
			if settings, errs[i] = galeraNode(ctx, library, ports[i], ports); errs[i] == nil {
				o.settings = append(settings, o.settings...)
				g.Nodes[i], errs[i] = newServer(ctx, mariadb{}, o)
			}
			if errs[i] == nil {
				errs[i] = awaitMembers(ctx, g.Nodes[i], nodes)
			}
			if errs[i] != nil {
				cancel()
			}
		})
	}
	starting.Wait()
	return errors.Join(errs...)
}

// discard ends the nodes and removes their data.
func (g *Galera) discard() error {
	var errs []error
	for _, node := range g.Nodes {
		if node != nil {
			errs = append(errs, node.discardAll())
		}
	}
	g.Nodes = nil
	return errors.Join(errs...)
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

// Timeouts after which a node considers another one lost, and after which a statement
// that waits by wsrep_sync_wait fails.
const (
	// galeraPatient has the defaults of Galera. They apply while nodes start and
	// work: on a busy machine a node may be silent for a second or two.
	galeraPatient = "evs.suspect_timeout=PT5S;evs.inactive_timeout=PT15S;evs.install_timeout=PT7.5S;repl.causal_read_timeout=PT30S"
	// galeraAlert applies from a fault until the nodes have noticed it.
	galeraAlert = "evs.suspect_timeout=PT1S;evs.inactive_timeout=PT3S;evs.install_timeout=PT3S;repl.causal_read_timeout=PT2S"
)

// galeraNode returns the settings of a node whose replication uses a port. The cluster
// is the ports of all nodes; a new cluster has none.
func galeraNode(ctx context.Context, library string, port int, cluster []int) ([][2]string, error) {
	addresses := make([]string, len(cluster))
	for i, port := range cluster {
		addresses[i] = local(port)
	}
	transfer, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	increment, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	provider := fmt.Sprintf("base_host=127.0.0.1;base_port=%d;gmcast.listen_addr=tcp://127.0.0.1:%d;ist.recv_addr=127.0.0.1:%d;"+
		"gcache.size=16M;evs.keepalive_period=PT0.2S;evs.inactive_check_period=PT0.2S;evs.max_install_timeouts=10;evs.join_retrans_period=PT0.3S;"+
		"pc.wait_prim_timeout=PT5M;%s", port, port, increment, galeraPatient)
	return [][2]string{
		{"binlog-format", "ROW"},
		{"innodb-autoinc-lock-mode", "2"},
		{"wsrep-on", "ON"},
		{"wsrep-provider", library},
		{"wsrep-provider-options", provider},
		{"wsrep-cluster-name", "testdb"},
		{"wsrep-cluster-address", "gcomm://" + strings.Join(addresses, ",")},
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
	settings, err := galeraNode(tb.Context(), library, port, nil)
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
		if err := awaitMembers(tb.Context(), node, size); err != nil {
			tb.Fatalf("testdb: %v", err)
		}
	}
}

// awaitMembers waits until a node sees a number of nodes and is in step with them.
func awaitMembers(ctx context.Context, node *Server, size int) error {
	if err := awaitAnswer(ctx, node, galeraStatus("wsrep_cluster_size"), strconv.Itoa(size)); err != nil {
		return err
	}
	return awaitAnswer(ctx, node, galeraStatus("wsrep_ready"), "ON")
}

// galeraStatus is a query for a status variable of a node. A node without a quorum
// answers it, too.
func galeraStatus(name string) string {
	return "SELECT variable_value FROM information_schema.global_status WHERE variable_name = '" + name + "'"
}

// awaitStatus waits until a status variable of a node has a value.
func (g *Galera) awaitStatus(tb testing.TB, node *Server, name, want string) {
	tb.Helper()
	if err := awaitAnswer(tb.Context(), node, galeraStatus(name), want); err != nil {
		tb.Fatalf("testdb: %v", err)
	}
}

// Kill ends a node with SIGKILL, as [Server.Kill] does, and waits until the others
// have noticed.
func (g *Galera) Kill(tb testing.TB, node *Server) {
	tb.Helper()
	g.lose(tb, node, func() { node.Kill(tb) })
}

// Start restarts a node, as [Server.Start] does, and waits until it is in step with the
// others. The node joins with a new UUID: on a busy machine, nodes that remember its
// former one may wait for each other forever.
func (g *Galera) Start(tb testing.TB, node *Server) {
	tb.Helper()
	if err := os.Remove(filepath.Join(node.directory.data(), "gvwstate.dat")); err != nil && !errors.Is(err, os.ErrNotExist) {
		tb.Fatalf("testdb: %v", err)
	}
	node.Start(tb)
	g.awaitStatus(tb, node, "wsrep_ready", "ON")
}

// Isolate disconnects a node from the others, like a network partition, and waits
// until all have noticed. Clients can connect to the node, and it rejects their
// statements.
func (g *Galera) Isolate(tb testing.TB, node *Server) {
	tb.Helper()
	g.lose(tb, node, func() {
		g.provide(tb, node, "gmcast.isolate=1")
		g.awaitStatus(tb, node, "wsrep_ready", "OFF")
	})
}

// lose removes a node by a function, and waits until the nodes that have seen it
// notice.
func (g *Galera) lose(tb testing.TB, node *Server, take func()) {
	tb.Helper()
	size := g.size(tb, node)
	var others []*Server
	for _, other := range g.Nodes {
		// An isolated node sees only itself.
		if other != node && other.Pid() != 0 && size > 1 && g.size(tb, other) == size {
			others = append(others, other)
		}
	}
	for _, one := range append(others, node) {
		g.provide(tb, one, galeraAlert)
	}
	take()
	for _, other := range others {
		g.awaitStatus(tb, other, "wsrep_cluster_size", strconv.Itoa(size-1))
	}
	for _, one := range append(others, node) {
		if one.Pid() != 0 {
			g.provide(tb, one, galeraPatient)
		}
	}
}

// size returns the number of nodes that a node sees, including itself.
func (g *Galera) size(tb testing.TB, node *Server) (size int) {
	tb.Helper()
	err := connected(tb.Context(), node, func(ctx context.Context, db *sql.DB) error {
		return db.QueryRowContext(ctx, galeraStatus("wsrep_cluster_size")).Scan(&size)
	})
	if err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	return size
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
