package postofficetest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// userAgent is the User-Agent of the server's requests.
const userAgent = "hackney/1.18.1"

// errNoHost means that an address has no host.
var errNoHost = errors.New("address has no host")

// address is a consumer's target or an origin host. It is split by hand, because the
// server sends what url.Parse would reject or rewrite.
type address struct {
	scheme, host string
	// request is the target in the request line: path and query.
	request string
	// authorization is the Authorization header for the userinfo.
	authorization string
}

// parseAddress splits an address. The default scheme is http.
func parseAddress(text string) (address, error) {
	parsed := address{scheme: "http"}
	rest := text
	if scheme, after, found := strings.Cut(text, "://"); found {
		parsed.scheme, rest = strings.ToLower(scheme), after
	}
	if parsed.scheme != "http" && parsed.scheme != "https" {
		return address{}, errors.New("address has an unknown scheme")
	}
	rest, _, _ = strings.Cut(rest, "#")
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, parsed.request = rest[:i], rest[i:]
	}
	if !strings.HasPrefix(parsed.request, "/") {
		parsed.request = "/" + parsed.request
	}
	parsed.request = escaped(parsed.request)
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, password, _ := strings.Cut(authority[:i], ":")
		credential := unescaped(user) + ":" + unescaped(password)
		parsed.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(credential))
		authority = authority[i+1:]
	}
	if authority == "" {
		return address{}, errNoHost
	}
	checked, err := url.Parse("http://" + authority)
	if err != nil {
		return address{}, errors.New("address has an invalid host")
	}
	if port := checked.Port(); port != "" {
		if number, err := strconv.Atoi(port); err != nil || number > 65535 {
			return address{}, errors.New("address has an invalid port")
		}
	}
	parsed.host = authority
	return parsed, nil
}

// escaped percent-encodes only the bytes that are invalid in a request line.
func escaped(text string) string {
	var out strings.Builder
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&out, "%%%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// unescaped decodes percent-encoding; it returns a text with invalid encoding
// unchanged.
func unescaped(text string) string {
	if decoded, err := url.PathUnescape(text); err == nil {
		return decoded
	}
	return text
}

// withoutUserinfo removes the userinfo from an address, for display.
func withoutUserinfo(text string) string {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "", text
	} else {
		scheme += "://"
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	return scheme + rest[strings.LastIndexByte(rest[:end], '@')+1:]
}

// send sends one request and reads the head and body of the answer within the
// timeout. It follows no redirect.
func (s *Server) send(ctx context.Context, method string, to address, header http.Header, body io.Reader, timeout time.Duration) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, to.scheme+"://"+to.host, body)
	if err != nil {
		return 0, nil, errors.New("address has an invalid host")
	}
	request.URL.Opaque = to.request
	if strings.HasPrefix(to.request, "//") {
		// An opaque part with this prefix would be sent as an absolute URL.
		request.URL.Opaque = ""
		request.URL.Path, request.URL.RawQuery, _ = strings.Cut(to.request, "?")
		request.URL.RawPath = request.URL.Path
		request.URL.Path = unescaped(request.URL.Path)
	}
	request.Header = header
	header.Set("User-Agent", userAgent)
	if to.authorization != "" {
		header.Set("Authorization", to.authorization)
	}
	// Use the transport directly: a client would follow redirects and put the
	// address, with its userinfo, into the error.
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}
