package outboxpage

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// DefaultPath is where the page is mounted unless Options.Path says otherwise.
const DefaultPath = "/postoffice/outbox/"

// Options says who may see the page and what of it.
type Options struct {
	// Authorize tells whether the sender of a request may see and change the
	// outbox. It is required and is called for every request, by several
	// goroutines at a time. An app without users of its own can check Basic
	// auth in it, with a Challenge.
	Authorize func(*http.Request) bool
	// Challenge, such as `Basic realm="outbox", charset="UTF-8"`, has browsers
	// ask for credentials: who is not authorized gets status 401 with it as
	// WWW-Authenticate (RFC 9110, section 11.6.1). Defaults to none, and status
	// 403.
	Challenge string
	// Path is the path that the page is mounted at, as requests have it. It
	// begins and ends with a slash. Defaults to DefaultPath, and to
	// DefaultInboxPath for an inbox.
	Path string
	// HidePayloads keeps payloads and attributes from the page: nobody sees
	// them there. Defaults to showing them to those who ask for them.
	HidePayloads bool
	// TimeZone is the zone of the times on the page, for browsers that run no
	// scripts; in others the page shows times in the viewer's zone. Nil means
	// time.Local.
	TimeZone *time.Location
}

// policy lets a page load nothing but its own style, script and icon, and itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// storeTimeout is how long the page waits for the outbox.
const storeTimeout = 10 * time.Second

// page is the handler.
type page struct {
	box     box
	options Options
	words   words
	topics  counts[[]outbox.TopicCount]
	stats   counts[outbox.Stats]

	// client is nil for an inbox, and what follows is not used.
	client *core.Client
	health health
	// hour tells what the client has counted in the last hour.
	hour func() []core.Minute
}

// Handler returns the page of a client's outbox, to be mounted at
// Options.Path and everything below it. Without an outbox it shows the rest.
// An error is core.ErrInvalidConfig and names the field at fault.
func Handler(client *core.Client, options Options) (http.Handler, error) {
	p, err := newPage(client, options)
	if err != nil {
		return nil, err
	}
	return p.handler(), nil
}

func newPage(client *core.Client, options Options) (*page, error) {
	if options.Path == "" {
		options.Path = DefaultPath
	}
	if client == nil {
		return nil, invalid("client", "is nil")
	}
	if err := options.validate(); err != nil {
		return nil, err
	}
	return &page{
		box: client.Outbox(), options: options, words: outboxWords,
		client: client, health: health{ask: client.Health}, hour: client.LastHour,
	}, nil
}

// validate says what is wrong with the options.
func (o *Options) validate() error {
	switch {
	case o.Authorize == nil:
		return invalid("Options.Authorize", "is required: it says who may see the page")
	case !isPath(o.Path):
		return invalid("Options.Path", fmt.Sprintf("is %q; it must be a clean path that begins and ends with a slash, without spaces and ", o.Path)+special)
	}
	return nil
}

// handler answers for the page, and refuses forms of other sites.
func (p *page) handler() http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.notice(w, http.StatusForbidden, "Refused", "This form was sent by another site.")
	}))
	return p.guarded(protection.Handler(http.HandlerFunc(p.route)))
}

// Mount has the adapters' Mount and Register serve the page for a client, at
// Options.Path, beside its recovery endpoint. It is to be called before them.
// Where they mount below a prefix, such as that of a group, use [Handler].
// The errors are those of Handler.
func Mount(client *core.Client, options Options) error {
	handler, err := Handler(client, options)
	if err != nil {
		return err
	}
	client.AddRoute(core.Route{Path: cmp.Or(options.Path, DefaultPath), Handler: handler})
	return nil
}

func invalid(field, problem string) error {
	return fmt.Errorf("%w: %w", core.ErrInvalidConfig, &core.FieldError{Field: field, Problem: problem})
}

// special are characters that mean something in addresses or to a router.
const special = `?#%\{}:*`

// isPath reports whether a page can be mounted at a path.
func isPath(text string) bool {
	if text == "/" {
		return true
	}
	return strings.HasPrefix(text, "/") && text != "//" && path.Clean(text)+"/" == text &&
		!strings.ContainsFunc(text, func(r rune) bool {
			return strings.ContainsRune(special, r) || unicode.IsSpace(r) || unicode.IsControl(r)
		})
}

// guarded sets the headers of every answer and asks who may see the page.
func (p *page) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		webpage.SetHeaders(w.Header(), policy)
		// Before Authorize, which may read forms and leaves what it cannot read
		// out of them.
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if !p.options.Authorize(r) {
			status := http.StatusForbidden
			if p.options.Challenge != "" {
				w.Header().Set("WWW-Authenticate", p.options.Challenge)
				status = http.StatusUnauthorized
			}
			http.Error(w, "You may not see the "+p.words.Box+".", status)
			return
		}
		// A filter that cannot be read must not become one that selects all.
		if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
			p.notice(w, http.StatusBadRequest, "Not possible", "The address cannot be read.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// route answers at the addresses of the page.
func (p *page) route(w http.ResponseWriter, r *http.Request) {
	name, below := strings.CutPrefix(r.URL.Path, p.options.Path)
	if !below {
		if r.URL.Path+"/" == p.options.Path {
			redirect(w, path.Base(p.options.Path)+"/")
			return
		}
		http.NotFound(w, r)
		return
	}
	// Each address takes forms or is to be looked at, not both.
	forms := map[string]http.HandlerFunc{"retry": p.retry, "discard": p.discard}
	views := map[string]http.HandlerFunc{"": p.list, "message": p.message, "part": p.part, "style.css": style, "page.js": javaScript, "icon.svg": icon}
	looks := r.Method == http.MethodGet || r.Method == http.MethodHead
	form, isForm := forms[name]
	view, isView := views[name]
	switch {
	case isView && looks:
		view(w, r)
	case isForm && r.Method == http.MethodPost:
		form(w, r)
	case isView:
		w.Header().Set("Allow", "GET, HEAD")
		p.notice(w, http.StatusMethodNotAllowed, "Not possible", "This address is to be looked at.")
	case isForm:
		w.Header().Set("Allow", "POST")
		p.notice(w, http.StatusMethodNotAllowed, "Not possible", "This address takes the page's forms.")
	case strings.Contains(name, "/"):
		http.NotFound(w, r) // the links of a page would lead nowhere
	default:
		p.notice(w, http.StatusNotFound, "There is nothing here", "The page has no such address.")
	}
}

// redirect leads to a relative address.
func redirect(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}
