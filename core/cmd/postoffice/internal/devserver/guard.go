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

// guard keeps other sites away from everything that the server serves. A
// browser would carry their requests to it, also to an address that only this
// machine reaches: they could read messages, create consumers, and make the
// server call addresses behind a firewall.
type guard struct {
	// loopback reports whether only this machine reaches the server.
	loopback bool
	// names are further names of the server, in lower case.
	names map[string]bool
	// forms refuses what other sites send; it goes by Sec-Fetch-Site and
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

// refusal is why a request gets no answer of the server's.
type refusal struct {
	status int
	text   string
}

// check returns nil for a request that may pass.
func (g guard) check(r *http.Request) *refusal {
	if host := hostname(r.Host); !g.knows(host) {
		name := webpage.Shown(host, webpage.MaxName)
		return &refusal{http.StatusMisdirectedRequest, fmt.Sprintf(
			"The development server does not know %q as a name of its own, and a foreign site may have given it that name. If it is yours, start the server with --allow-host %s.", name, name)}
	}
	if g.forms.Check(r) != nil || foreign(r) {
		return &refusal{http.StatusForbidden,
			"Another site has sent this request, or a browser that does not say which."}
	}
	return nil
}

// knows reports whether a host is a name of the server that no foreign site
// can have given to it. Only names with a dot can be had on the internet. A
// request without a name comes from no browser.
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

// foreign reports whether a browser sends the request for another site, and
// not because a person has followed a link to a page.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return !ofPages(r) || r.Header.Get("Sec-Fetch-Mode") != "navigate"
	}
	return false
}

// refuse answers a request that did not pass the guard. The API does it in its
// own way, so that its clients show the reason; a page is there only for a name
// of the server, under which its style can be had.
func (a *app) refuse(w http.ResponseWriter, r *http.Request, why *refusal) {
	webpage.SetHeaders(w.Header(), policy)
	switch {
	case !ofPages(r):
		body, _ := json.Marshal(map[string]any{"errors": map[string]string{"detail": why.text}}) // a text always encodes
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(why.status)
		_, _ = w.Write(body) // a client that is gone is no concern
	case why.status == http.StatusMisdirectedRequest:
		http.Error(w, why.text, why.status)
	default:
		a.notice(w, r, why.status, "Refused", why.text)
	}
}

// isLoopback reports whether an address to listen on is of this machine alone.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackName(canonical(host))
}

// loopbackName reports whether a canonical host is this machine under a name
// that only it has.
func loopbackName(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// hostname takes the port off a Host header.
func hostname(host string) string {
	parsed := url.URL{Host: host}
	return parsed.Hostname()
}

// canonical gives a host in one spelling: in lower case, without brackets and
// without the dot of the root.
func canonical(host string) string {
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// checkHost returns what is wrong with a name to allow; empty for nothing.
func checkHost(name string) string {
	host := canonical(name)
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	if host == "" || strings.ContainsAny(host, ":/*@?# \t\r\n") {
		return `is no host name such as "postoffice.test": give it without scheme and port`
	}
	return ""
}
