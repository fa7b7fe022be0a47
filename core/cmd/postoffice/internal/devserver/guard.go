package devserver

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
)

// guard refuses requests from other sites, to the page and the API. A browser sends
// them even to addresses that only this machine can reach: without the guard, any site
// could read messages, create consumers, and make the server call addresses behind a
// firewall.
type guard struct {
	// loopback means that only this machine can reach the server.
	loopback bool
	// names are further names of the server, in lower case.
	names map[string]bool
	// forms refuses requests from other sites by the headers Sec-Fetch-Site and
	// Origin, which clients of the API do not send.
	forms *http.CrossOriginProtection
}

func newGuard(o Options) guard {
	g := guard{loopback: isLoopback(o.Addr), names: make(map[string]bool), forms: http.NewCrossOriginProtection()}
	own, _, _ := net.SplitHostPort(o.Addr) // the options are checked
	names := append([]string{own}, o.AllowHosts...)
	if !g.loopback {
		if machine, err := os.Hostname(); err == nil {
			names = append(names, machine)
		}
	}
	for _, name := range names {
		g.names[canonical(name)] = true
	}
	return g
}

// refusal is the response to a request that the guard refuses.
type refusal struct {
	status int
	text   string
}

// check returns nil for an allowed request.
func (g guard) check(r *http.Request) *refusal {
	if host := hostname(r.Host); !g.knows(host) {
		name := webpage.Shown(host, webpage.MaxName)
		return &refusal{http.StatusMisdirectedRequest, fmt.Sprintf(
			"The development server does not accept the host name %q, because another site may have pointed it at this machine. If the name is yours, start the server with --allow-host %s.", name, name)}
	}
	if g.forms.Check(r) != nil || foreign(r) {
		return &refusal{http.StatusForbidden,
			"This request came from another site, or from a browser that does not report its origin."}
	}
	return nil
}

// knows reports whether a host is a name of the server that no other site can have
// pointed at it. On the internet, only names with a dot can be registered. Browsers
// never send a request without a host.
func (g guard) knows(host string) bool {
	host = canonical(host)
	switch {
	case host == "" || loopbackName(host) || g.names[host]:
		return true
	case g.loopback:
		return false
	}
	_, err := netip.ParseAddr(host)
	return err == nil || !strings.Contains(host, ".")
}

// foreign reports whether a browser sends the request for another site, other than to
// follow a link to a page.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return !ofPages(r) || r.Header.Get("Sec-Fetch-Mode") != "navigate"
	}
	return false
}

// refuse responds to a request that the guard refuses: in the format of the API, so that
// clients show the reason, or with a page. For an unknown host name it sends plain text,
// because the page's style sheet could not be loaded.
func (a *app) refuse(w http.ResponseWriter, r *http.Request, why *refusal) {
	webpage.SetHeaders(w.Header(), policy)
	switch {
	case !ofPages(r):
		body, _ := json.Marshal(map[string]any{"errors": map[string]string{"detail": why.text}}) // a string always encodes
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(why.status)
		_, _ = w.Write(body) // the client may have disconnected
	case why.status == http.StatusMisdirectedRequest:
		http.Error(w, why.text, why.status)
	default:
		a.notice(w, r, why.status, "Refused", why.text)
	}
}

// isLoopback reports whether only this machine can reach an address to listen on.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackName(canonical(host))
}

// loopbackName reports whether a canonical host is localhost or a loopback address.
func loopbackName(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// hostname returns a Host header without the port.
func hostname(host string) string {
	parsed := url.URL{Host: host}
	return parsed.Hostname()
}

// canonical returns a host in lower case, without brackets and without a trailing dot.
func canonical(host string) string {
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// checkHost returns the problem of a host name to allow; empty if it is valid.
func checkHost(name string) string {
	host := canonical(name)
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	if host == "" || strings.ContainsAny(host, ":/*@?# \t\r\n") {
		return `is not a host name such as "postoffice.test", without scheme and port`
	}
	return ""
}
