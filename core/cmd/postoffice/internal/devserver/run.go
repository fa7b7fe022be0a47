package devserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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
	// Out is where the server says where it listens. Default: nowhere.
	Out io.Writer
	// Logger is told about what goes wrong with the server itself. Payloads
	// never appear in it. Default: nothing is logged.
	Logger *slog.Logger
	// Started is called with the server's URL when it listens.
	Started func(url string)
}

// ErrOptions means that an option is not valid.
var ErrOptions = errors.New("invalid option")

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
	return o, nil
}

// Run runs the server until the context ends, which is no error. An error says
// which option is wrong ([ErrOptions]), why the file cannot be used
// ([ErrFileInUse], [ErrFileForeign], [ErrFileNewer] and others), or why the
// server cannot listen. When Run returns, what the server held is in the file.
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
		if o.File != "" {
			return fmt.Errorf("%w (file %s)", err, o.File)
		}
		return err
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
	_, _ = fmt.Fprintf(a.options.Out, "Postoffice development server\n  page and API  %s\n  state         %s\n  retries       %s\n", url, where, gaps)
	if !a.loopback {
		_, _ = fmt.Fprintf(a.options.Out, "WARNING: %s can be reached from other machines. Whoever reaches it can read all messages and break the server.\n", url)
		a.options.Logger.Warn("the development server listens beyond this machine", "url", url)
	}
}
