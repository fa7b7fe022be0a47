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
	// DefaultAddr is where the server listens when nothing else is said.
	DefaultAddr = "127.0.0.1:4000"
	// DefaultHistory is how many messages are remembered when nothing else is
	// said.
	DefaultHistory = 10_000
	// MinHistory is the smallest history.
	MinHistory = 100
	// MinRetryGap is the smallest bound of the gaps between attempts.
	MinRetryGap = 100 * time.Millisecond
)

// Options says how the server runs. The zero value is a server in memory on
// [DefaultAddr].
type Options struct {
	// Addr is the TCP address on which the server listens. Default
	// [DefaultAddr]; port 0 takes a free one.
	Addr string
	// AllowHosts are names, without ports, under which the server answers
	// beside those that no foreign site can give to it: localhost and loopback
	// addresses, the host of Addr and, when Addr is not of this machine alone,
	// all IP addresses, names without a dot and the machine's own name.
	// Default: none.
	AllowHosts []string
	// File keeps what the server holds; it is created when it is missing. One
	// server uses a file at a time. Default: nothing is kept.
	File string
	// MaxRetryGap bounds how long a message waits for its next attempt. At
	// least [MinRetryGap]. Default: as the real server, from 16 s to 12 days.
	MaxRetryGap time.Duration
	// History is how many messages, and as many attempts and other events, the
	// server remembers at least; it forgets the oldest before there are twice
	// as many. Messages that are still to be delivered are never forgotten. At
	// least [MinHistory]. Default [DefaultHistory].
	History int
	// Realistic lets requests take as long as on a real server, see
	// [postofficetest.RealisticCost]. Default: they are answered at once.
	Realistic bool
	// Out is where the server says where it listens. Default: nowhere.
	Out io.Writer
	// Logger is told about what goes wrong with the server itself. Payloads
	// never appear in it. Default: nothing is logged.
	Logger *slog.Logger
	// Started is called with the server's URL when it listens.
	Started func(url string)
}

// Errors of [Run], beside those about the file.
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
		return o, fmt.Errorf("%w: Addr %q is no address such as %q", ErrOptions, o.Addr, DefaultAddr)
	case o.History < MinHistory:
		return o, fmt.Errorf("%w: History of %d, below %d", ErrOptions, o.History, MinHistory)
	case o.MaxRetryGap != 0 && o.MaxRetryGap < MinRetryGap:
		return o, fmt.Errorf("%w: MaxRetryGap of %s, below %s", ErrOptions, o.MaxRetryGap, MinRetryGap)
	}
	for _, name := range o.AllowHosts {
		if wrong := checkHost(name); wrong != "" {
			return o, fmt.Errorf("%w: AllowHosts: %q %s", ErrOptions, name, wrong)
		}
	}
	return o, nil
}

// Run runs the server until the context ends, which is no error. An error says
// which option is wrong ([ErrOptions]), why the file cannot be used
// ([ErrFileInUse], [ErrFileForeign], [ErrFileNewer] and others), or why the
// server cannot listen ([ErrAddrInUse], [ErrAddr]). When Run returns, what the server held is in the file.
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
	defer server.Close() // again, which does nothing, unless something panics
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

// startError says in plain words why the server did not start.
func startError(o Options, err error) error {
	var socket *net.OpError
	switch {
	case addrInUse(err):
		return fmt.Errorf("%w %s", ErrAddrInUse, o.Addr)
	case errors.As(err, &socket):
		return fmt.Errorf("%w %s: %w", ErrAddr, o.Addr, socket.Err)
	}
	// Listening apart, it takes up what the file holds.
	return fmt.Errorf("%w: file %s: %w", ErrFileDamaged, o.File, err)
}

// addrInUse reports whether listening failed because another program does.
// Windows has a number of its own for that, which no other system uses.
func addrInUse(err error) bool {
	const windows = syscall.Errno(10048) // WSAEADDRINUSE
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, windows)
}

// announce says where the server is.
func (a *app) announce(url string) {
	where := "in memory, and gone when the server ends"
	if a.options.File != "" {
		where = "in " + a.options.File
	}
	gaps := "as on a real server, the first after 16 s"
	if a.options.MaxRetryGap > 0 {
		gaps = "at the latest after " + a.options.MaxRetryGap.String()
	}
	pace := "at once"
	if a.options.Realistic {
		pace = "as slow as on a real server with 2 cores"
	}
	_, _ = fmt.Fprintf(a.options.Out, "Postoffice development server\n  page and API  %s\n  state         %s\n  answers       %s\n  retries       %s\n", url, where, pace, gaps)
	if !a.guard.loopback {
		_, _ = fmt.Fprintf(a.options.Out, "WARNING: %s can be reached from other machines. Whoever reaches it can read all messages, break the server, and make it call addresses that this machine reaches.\n", url)
		a.options.Logger.Warn("the development server listens beyond this machine", "url", url)
	}
}
