package devserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

const (
	// DefaultAddr is the default of [Options.Addr].
	DefaultAddr = "127.0.0.1:4000"
	// DefaultHistory is the default of [Options.History].
	DefaultHistory = 10_000
	// MinHistory is the minimum of [Options.History].
	MinHistory = 100
	// MinRetryGap is the minimum of [Options.MaxRetryGap].
	MinRetryGap = 100 * time.Millisecond
)

// Options configures the server. The zero value is a server on [DefaultAddr] that keeps
// its state in memory.
type Options struct {
	// Addr is the TCP address on which the server listens. Port 0 selects a free
	// port. Defaults to [DefaultAddr].
	Addr string
	// AllowHosts are additional host names, without ports, that requests may use.
	// Always allowed are localhost, loopback addresses and the host of Addr. If
	// other machines can reach Addr, all IP addresses, names without a dot and the
	// machine's own name are allowed too. Defaults to none.
	AllowHosts []string
	// File is the path of the SQLite file that keeps the server's state. A missing
	// file is created. Only one server can use a file at a time. Defaults to none:
	// the state is only in memory.
	File string
	// MaxRetryGap is the maximum delay before a retry, at least [MinRetryGap].
	// Defaults to the delays of the real server, from 16 s to 12 days.
	MaxRetryGap time.Duration
	// History is the minimum number of messages, of attempts and of other events
	// that the server keeps, at least [MinHistory]. It removes the oldest before
	// there are twice as many, but never messages that are still to be delivered.
	// Defaults to [DefaultHistory].
	History int
	// Realistic makes requests take as long as on a real server, see
	// [postofficetest.RealisticCost]. Defaults to false: the server responds at
	// once.
	Realistic bool
	// Out receives a text with the address of the server. Defaults to none.
	Out io.Writer
	// Logger receives errors of the server itself, never payloads. Defaults to none.
	Logger *slog.Logger
	// Started is called with the server's URL when the server listens. Defaults to
	// none.
	Started func(url string)
}

// Errors of [Run], in addition to the errors of the file.
var (
	// ErrOptions means that an option is not valid.
	ErrOptions = errors.New("invalid option")
	// ErrAddrInUse means that another program listens on the address.
	ErrAddrInUse = errors.New("another program listens on the address")
	// ErrAddr means that the server cannot listen on the address.
	ErrAddr = errors.New("cannot listen on the address")
)

// withDefaults checks the options and fills in the defaults.
func (o Options) withDefaults() (Options, error) {
	o.Addr = cmp.Or(o.Addr, DefaultAddr)
	o.History = cmp.Or(o.History, DefaultHistory)
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Started == nil {
		o.Started = func(string) {}
	}
	_, _, err := net.SplitHostPort(o.Addr)
	switch {
	case err != nil:
		return o, fmt.Errorf("%w: Addr %q is not an address such as %q", ErrOptions, o.Addr, DefaultAddr)
	case o.History < MinHistory:
		return o, fmt.Errorf("%w: History is %d, the minimum is %d", ErrOptions, o.History, MinHistory)
	case o.MaxRetryGap != 0 && o.MaxRetryGap < MinRetryGap:
		return o, fmt.Errorf("%w: MaxRetryGap is %s, the minimum is %s", ErrOptions, o.MaxRetryGap, MinRetryGap)
	}
	for _, name := range o.AllowHosts {
		if wrong := checkHost(name); wrong != "" {
			return o, fmt.Errorf("%w: AllowHosts: %q %s", ErrOptions, name, wrong)
		}
	}
	return o, nil
}

// Run runs the server until the context ends, and then returns nil. An error names the
// invalid option ([ErrOptions]), the reason why the file cannot be used ([ErrFileInUse],
// [ErrFileForeign], [ErrFileNewer] and others), or the reason why the server cannot
// listen ([ErrAddrInUse], [ErrAddr]). When Run returns nil, the state of the server is
// in the file.
func Run(ctx context.Context, o Options) (err error) {
	o, err = o.withDefaults()
	if err != nil {
		return err
	}
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	a := newApp(working, o)
	settings := []postofficetest.Option{
		postofficetest.WithRealTime(),
		postofficetest.WithHistory(o.History),
		postofficetest.WithMaxGap(o.MaxRetryGap),
		postofficetest.WithFront(a.front),
	}
	if o.Realistic {
		settings = append(settings, postofficetest.WithCost(postofficetest.RealisticCost()))
	}
	if o.File != "" {
		file, err := openFile(ctx, o.File)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.close()) }()
		records, err := file.load(ctx)
		if err != nil {
			return err
		}
		a.keeper.store = file
		settings = append(settings, postofficetest.WithRecords(records))
	}
	server, err := postofficetest.Listen(o.Addr, settings...)
	if err != nil {
		return startError(o, err)
	}
	defer server.Close() // if something panics; otherwise it is already closed
	a.announce(server.URL())
	o.Started(server.URL())
	if o.File != "" {
		a.start(func() { a.keeper.follow(working) })
	}
	<-ctx.Done()
	server.Close()
	a.finish()
	return a.keeper.flush(context.WithoutCancel(ctx))
}

// startError explains why the server did not start.
func startError(o Options, err error) error {
	var socket *net.OpError
	switch {
	case addrInUse(err):
		return fmt.Errorf("%w %s", ErrAddrInUse, o.Addr)
	case errors.As(err, &socket):
		return fmt.Errorf("%w %s: %w", ErrAddr, o.Addr, socket.Err)
	}
	// Otherwise the records of the file could not be restored.
	return fmt.Errorf("%w: file %s: %w", ErrFileDamaged, o.File, err)
}

// addrInUse reports whether another program listens on the address. Windows uses its own
// error number, which no other system uses.
func addrInUse(err error) bool {
	const windows = syscall.Errno(10048) // WSAEADDRINUSE
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, windows)
}

// announce prints the address and the settings of the server.
func (a *app) announce(url string) {
	where := "in memory, lost when the server stops"
	if a.options.File != "" {
		where = "in " + a.options.File
	}
	gaps := "as on a real server, the first after 16 s"
	if a.options.MaxRetryGap > 0 {
		gaps = "after at most " + a.options.MaxRetryGap.String()
	}
	pace := "at once"
	if a.options.Realistic {
		pace = "as slow as on a real server with 2 cores"
	}
	_, _ = fmt.Fprintf(a.options.Out, "Postoffice development server\n  page and API  %s\n  state         %s\n  responses     %s\n  retries       %s\n", url, where, pace, gaps)
	if !a.guard.loopback {
		_, _ = fmt.Fprintf(a.options.Out, "WARNING: %s can be reached from other machines. Anyone who can reach it can read all messages, break the server, and make it call addresses that this machine can reach.\n", url)
		a.options.Logger.Warn("the development server can be reached from other machines", "url", url)
	}
}
