package connect

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// mask replaces credentials.
const mask = "xxxxx"

// userinfo matches the part before the host of a URL, with any characters: passwords
// are not always encoded as they should be.
var userinfo = regexp.MustCompile("([A-Za-z][A-Za-z0-9+.-]*://)[^\\s\"'`<>]*@")

// shortest is the length of the shortest password that is masked everywhere. A
// shorter one would mask parts of words.
const shortest = 4

// Secrets are the passwords that a command was given. The zero Secrets has none, and
// still masks the userinfo of URLs.
type Secrets struct{ words []string }

// AddURL adds the password of a URL, as written and decoded. A text that is not a
// URL, or has no password, adds nothing.
func (s *Secrets) AddURL(address string) {
	_, rest, ok := strings.Cut(address, "://")
	if !ok {
		rest = address // an origin host needs no scheme
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return
	}
	_, password, _ := strings.Cut(rest[:at], ":")
	s.add(password)
	if decoded, err := url.PathUnescape(password); err == nil {
		s.add(decoded)
	}
}

func (s *Secrets) add(word string) {
	if len(word) >= shortest && !slices.Contains(s.words, word) {
		s.words = append(s.words, word)
		// The longest first: one password may be a part of another.
		slices.SortFunc(s.words, func(a, b string) int { return len(b) - len(a) })
	}
}

// Text returns a text without the userinfo of URLs and without the passwords.
func (s *Secrets) Text(text string) string {
	text = userinfo.ReplaceAllString(text, "${1}"+mask+"@")
	for _, word := range s.words {
		text = strings.ReplaceAll(text, word, mask)
	}
	return text
}

// PublicURL returns the address of a server without its userinfo and its query,
// which may hold a credential too.
func PublicURL(address string) string {
	address, _, _ = strings.Cut(address, "?")
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address[strings.LastIndexByte(address, '@')+1:]
	}
	return scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
}
