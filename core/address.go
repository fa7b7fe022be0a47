package core

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// setServer parses the server's address.
func (s *settings) setServer(address string) *FieldError {
	if address == "" {
		return fieldError("URL", "is required: it is the address of the Postoffice server")
	}
	parsed, fault := parseBase("URL", address)
	if fault != nil {
		return fault
	}
	base := url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path, RawPath: parsed.RawPath}
	s.baseURL = strings.TrimRight(base.String(), "/")
	if parsed.User != nil {
		password, _ := parsed.User.Password()
		credential := parsed.User.Username() + ":" + password
		s.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(credential))
	}
	return nil
}

// setOrigin builds the address that is registered with the server. The address
// ends in a slash, because the server appends message ids to it.
func (s *settings) setOrigin(address string) *FieldError {
	const field = "OriginHost"
	if !strings.Contains(address, "://") {
		if scheme, _, _ := strings.Cut(address, ":"); strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https") {
			return fieldError(field, "must begin with http:// or https://")
		}
		address = "http://" + address
	}
	parsed, fault := parseBase(field, address)
	if fault != nil {
		return fault
	}
	path := strings.TrimRight(parsed.EscapedPath(), "/") + "/"
	if s.recoveryPath != "" && !strings.HasSuffix(path, s.recoveryPath) {
		path = strings.TrimSuffix(path, "/") + s.recoveryPath
	}
	userinfo := ""
	if parsed.User != nil {
		s.recoveryUser = parsed.User.Username()
		s.recoveryPassword, _ = parsed.User.Password()
		s.recoveryGuarded = true
		if s.recoveryUser == "" {
			// The server sends no credentials without a user name.
			return fieldError(field, "has userinfo without a user name")
		}
		userinfo = percentEncode(s.recoveryUser) + ":" + percentEncode(s.recoveryPassword) + "@"
	}
	host := url.URL{Host: parsed.Host} // encodes the host where needed
	s.originHost = parsed.Scheme + "://" + userinfo + strings.TrimPrefix(host.String(), "//") + path
	if length := utf8.RuneCountInString(s.originHost); length > wire.MaxNameLength {
		return fieldError(field, "has %d characters with the recovery path and percent-encoded; the server accepts at most %d",
			length, wire.MaxNameLength)
	}
	return nil
}

// checkRecovery reports a configuration in which the server would fetch
// messages from an endpoint that refuses it.
func (s *settings) checkRecovery() *FieldError {
	if !s.recoveryEnabled || s.recoveryGuarded || s.allowOpenRecovery {
		return nil
	}
	return fieldError("OriginHost", "has no credentials: RecoveryEnabled would permanently register topics "+
		"whose recovery requests are refused; put USER:PASSWORD@ before the host, or set AllowOpenRecovery")
}

// resolveRecoveryPath checks the path. Routers register it and the server
// requests it, and both must interpret it in the same way, so only unreserved
// characters are allowed.
func resolveRecoveryPath(path string) (string, *FieldError) {
	const field = "RecoveryPath"
	path = cmp.Or(path, DefaultRecoveryPath)
	if path[0] != '/' {
		return "", fieldError(field, "must begin with a slash")
	}
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	if bad := strings.IndexFunc(path, func(r rune) bool { return r != '/' && !isUnreserved(r) }); bad >= 0 {
		r, _ := utf8.DecodeRuneInString(path[bad:])
		return "", fieldError(field, "contains %q; only letters, digits, slashes and -._~ are allowed", r)
	}
	switch {
	case strings.Contains(path, "//"):
		return "", fieldError(field, "has an empty segment")
	case strings.Contains(path, "/./"), strings.Contains(path, ".."):
		return "", fieldError(field, "has a segment of dots")
	case len(path) > wire.MaxNameLength:
		return "", fieldError(field, "has %d characters; the server accepts at most %d with the host", len(path), wire.MaxNameLength)
	}
	return path, nil
}

// parseBase parses an address to which paths are appended.
func parseBase(field, address string) (*url.URL, *FieldError) {
	parsed, fault := parseHTTP(field, address)
	if fault != nil {
		return nil, fault
	}
	switch {
	case strings.Contains(address, "#"):
		return nil, fieldError(field, "must have no fragment; a # in userinfo must be percent-encoded as %%23")
	case strings.Contains(address, "?"):
		return nil, fieldError(field, "must have no query; a ? in userinfo must be percent-encoded as %%3F")
	case strings.Contains(parsed.EscapedPath(), "@"):
		// The @ probably belongs to a password with a slash. The part before
		// the slash would be parsed as the host and would appear in errors.
		return nil, fieldError(field, "has an @ in its path; a / in userinfo must be percent-encoded as %%2F")
	case parsed.User == nil:
		return parsed, nil
	}
	password, _ := parsed.User.Password()
	switch {
	case parsed.User.Username() == "" && password == "":
		return nil, fieldError(field, "has empty userinfo before its @")
	case strings.Contains(parsed.User.Username(), ":"):
		return nil, fieldError(field, "has a colon in its user name, which Basic authentication cannot carry")
	}
	return parsed, nil
}

// parseHTTP parses an absolute http or https URL with a host. It does not
// return the error of [url.Parse], which contains the URL and its password.
func parseHTTP(field, address string) (*url.URL, *FieldError) {
	if strings.TrimSpace(address) != address {
		return nil, fieldError(field, "begins or ends with white space")
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, fieldError(field, "cannot be parsed: %s", whyUnparsable(address, err))
	}
	switch {
	case parsed.Scheme != "http" && parsed.Scheme != "https", !strings.Contains(address, "://"):
		return nil, fieldError(field, "must begin with http:// or https://")
	case parsed.Hostname() == "":
		return nil, fieldError(field, "has no host")
	}
	if port := parsed.Port(); port != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return nil, fieldError(field, "has a port that is not between 1 and 65535")
		}
	}
	parsed.Host = strings.TrimSuffix(parsed.Host, ":") // "host:" means the default port
	return parsed, nil
}

// whyUnparsable describes the reason without repeating the URL.
func whyUnparsable(address string, err error) string {
	_, encoding := errors.AsType[url.EscapeError](err)
	_, host := errors.AsType[url.InvalidHostError](err)
	switch {
	case strings.Contains(address, "@"):
		return "userinfo must be percent-encoded"
	case encoding:
		return "a percent sign must be followed by two hexadecimal digits"
	case host:
		return "the host contains an invalid character"
	case strings.ContainsFunc(address, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "it contains a control character"
	}
	return "it must have the form http://host:port/path"
}

// isUnreserved reports whether a character never needs encoding in a URL.
func isUnreserved(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~", r)
}

// percentEncode encodes all characters except unreserved ones, because URL
// parsers differ on others, such as the plus sign.
func percentEncode(text string) string {
	var encoded strings.Builder
	for i := range len(text) {
		if c := text[i]; c < utf8.RuneSelf && isUnreserved(rune(c)) {
			encoded.WriteByte(c)
		} else {
			fmt.Fprintf(&encoded, "%%%02X", c)
		}
	}
	return encoded.String()
}

// redactTarget removes the userinfo from a consumer's target, for logs.
func redactTarget(target string) string {
	scheme, rest, ok := strings.Cut(target, "://")
	if ok {
		scheme += "://"
	} else {
		scheme, rest = "", target
	}
	authority := rest
	if _, err := url.Parse(target); err == nil {
		if end := strings.IndexAny(rest, "/?#"); end >= 0 {
			authority = rest[:end]
		}
	}
	return scheme + rest[strings.LastIndexByte(authority, '@')+1:]
}
