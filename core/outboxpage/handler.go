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

// DefaultPath is the default of Options.Path for the page of an outbox.
const DefaultPath = "/postoffice/outbox/"

// Options configures the page.
type Options struct {
	// Authorize reports whether the sender of a request may see and change the
	// outbox. It is called for every request and must be safe for concurrent use.
	// An app without user accounts can check HTTP Basic credentials here and set
	// Challenge. Required.
	Authorize func(*http.Request) bool
	// Challenge, such as `Basic realm="outbox", charset="UTF-8"`, makes browsers
	// ask for credentials: unauthorized requests get status 401 and this value in
	// the WWW-Authenticate header (RFC 9110, section 11.6.1). Defaults to none:
	// they get status 403.
	Challenge string
	// Path is the path at which the page is mounted, as it appears in requests.
	// It begins and ends with a slash. Defaults to DefaultPath, and to
	// DefaultInboxPath for an inbox.
	Path string
	// HidePayloads removes payloads and attributes from the page. Defaults to
	// false: an authorized viewer can show them.
	HidePayloads bool
	// TimeZone is the time zone of the page in browsers without JavaScript; with
	// JavaScript, times are in the viewer's time zone. Defaults to time.Local.
	TimeZone *time.Location
}

// policy is the content security policy: a page can only load its own style sheet,
// script and icon, and itself.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// storeTimeout bounds reading from the store.
const storeTimeout = 10 * time.Second

// page is the handler.
type page struct {
	box     box
	options Options
	words   words
	topics  cached[[]outbox.TopicCount]
	stats   cached[outbox.Stats]

	// client is nil for an inbox, which does not use the fields below either.
	client *core.Client
	health health
	// hour returns the client's counts of the last hour.
	hour func() []core.Minute
}

// Handler returns the page of a client's outbox. Mount it at Options.Path and all
// paths below. For a client without an outbox, the page shows the server and the
// throughput. An error is core.ErrInvalidConfig and names the invalid field.
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

// validate checks the options.
func (o *Options) validate() error {
	switch {
	case o.Authorize == nil:
		return invalid("Options.Authorize", "is required: it decides who may see the page")
	case !isPath(o.Path):
		return invalid("Options.Path", fmt.Sprintf("is %q; it must be a clean path that begins and ends with a slash, without spaces and ", o.Path)+special)
	}
	return nil
}

// handler returns the handler of the page, which refuses forms from other sites.
func (p *page) handler() http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.notice(w, http.StatusForbidden, "Refused", "This form came from another site.")
	}))
	return p.guarded(protection.Handler(http.HandlerFunc(p.route)))
}

// Mount adds the page to a client's routes: the adapters' Mount and Register serve it
// at Options.Path. Call Mount before them. If they mount below a prefix, such as the
// prefix of a group, use [Handler] instead. Mount returns the errors of Handler.
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

// special are characters with a meaning in URLs or to a router.
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

// guarded sets the headers of every response and checks the authorization.
func (p *page) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		webpage.SetHeaders(w.Header(), policy)
		// Before Authorize, because Authorize may parse the form.
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if !p.options.Authorize(r) {
			status := http.StatusForbidden
			if p.options.Challenge != "" {
				w.Header().Set("WWW-Authenticate", p.options.Challenge)
				status = http.StatusUnauthorized
			}
			http.Error(w, "You are not allowed to see the "+p.words.Box+".", status)
			return
		}
		// An invalid filter must not become a filter that selects all messages.
		if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
			p.notice(w, http.StatusBadRequest, "Invalid request", "The address is invalid.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// route dispatches requests to the handlers of the page's addresses.
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
	// Each address either accepts forms or shows something, never both.
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
		p.notice(w, http.StatusMethodNotAllowed, "Method not allowed", "This address only accepts GET and HEAD requests.")
	case isForm:
		w.Header().Set("Allow", "POST")
		p.notice(w, http.StatusMethodNotAllowed, "Method not allowed", "This address only accepts POST requests.")
	case strings.Contains(name, "/"):
		http.NotFound(w, r) // the relative links of a page would be wrong here
	default:
		p.notice(w, http.StatusNotFound, "Not found", "There is no page at this address.")
	}
}

// redirect redirects to a relative address.
func redirect(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}
