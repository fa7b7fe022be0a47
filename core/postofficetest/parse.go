package postofficetest

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// refusal is an answer that is given before a request reaches its route.
type refusal int

// parameters reads what the real server merges before it looks at the path:
// the query string, and over it the body. Only the body's parameters can
// override the method.
func (s *Server) parameters(r *http.Request, body []byte) (all, fromBody map[string]json.RawMessage, refused refusal) {
	all, ok := parseForm(r.URL.RawQuery)
	if !ok {
		return nil, nil, http.StatusBadRequest
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		fromBody, refused = s.parseBody(r.Header.Get("Content-Type"), body)
		if refused != 0 {
			return nil, nil, refused
		}
		for key, value := range fromBody {
			all[key] = value
		}
	}
	return all, fromBody, 0
}

// parseBody reads a body by its content type; one of another type is passed
// over.
func (s *Server) parseBody(contentType string, body []byte) (map[string]json.RawMessage, refusal) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, 0
	}
	isJSON := mediaType == "application/json" ||
		strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json")
	isForm := mediaType == "application/x-www-form-urlencoded"
	switch {
	case !isJSON && !isForm:
		return nil, 0
	case len(body) > s.settings.bodyLimit:
		return nil, http.StatusRequestEntityTooLarge
	case len(body) == 0:
		return nil, 0
	case isForm:
		if fields, ok := parseForm(string(body)); ok {
			return fields, 0
		}
		return nil, http.StatusBadRequest
	case !validJSON(body):
		return nil, http.StatusBadRequest
	}
	value := json.RawMessage(body[skip(body, 0):])
	if kindOf(value) != '{' {
		// The server keeps it under a key of its own, which nothing reads.
		return nil, 0
	}
	return fieldsOf(value), 0
}

// parseForm reads a query string or form, in which a key such as "a[b]" or
// "a[]" nests. Every value becomes a JSON string. False when it is not
// valid.
func parseForm(text string) (map[string]json.RawMessage, bool) {
	tree := make(map[string]any)
	for pair := range strings.SplitSeq(text, "&") {
		if pair == "" {
			continue
		}
		rawKey, rawValue, _ := strings.Cut(pair, "=")
		key, keyErr := url.QueryUnescape(rawKey)
		value, valueErr := url.QueryUnescape(rawValue)
		if keyErr != nil || valueErr != nil || !utf8.ValidString(key) || !utf8.ValidString(value) {
			return nil, false
		}
		nest(tree, keyPath(key), value)
	}
	fields := make(map[string]json.RawMessage, len(tree))
	for key, value := range tree {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, false
		}
		fields[key] = raw
	}
	return fields, true
}

// keyPath splits "a[b][c]" into a, b and c.
func keyPath(key string) []string {
	name, rest, found := strings.Cut(key, "[")
	if !found || name == "" || !strings.HasSuffix(rest, "]") {
		return []string{key}
	}
	return append([]string{name}, strings.Split(strings.TrimSuffix(rest, "]"), "][")...)
}

// nest puts the value into the tree; an empty last part appends to a list.
func nest(tree map[string]any, path []string, value string) {
	switch {
	case len(path) == 1:
		tree[path[0]] = value
	case len(path) == 2 && path[1] == "":
		list, _ := tree[path[0]].([]any)
		tree[path[0]] = append(list, value)
	default:
		child, ok := tree[path[0]].(map[string]any)
		if !ok {
			child = make(map[string]any)
			tree[path[0]] = child
		}
		nest(child, path[1:], value)
	}
}

// acceptable reports whether the request admits a JSON answer: by the
// parameter _format or else by the first Accept header.
func acceptable(r *http.Request, parameters map[string]json.RawMessage) bool {
	if format, found := parameters["_format"]; found {
		return string(format) == `"json"`
	}
	accepts := r.Header.Values("Accept")
	if len(accepts) == 0 {
		return true
	}
	for part := range strings.SplitSeq(accepts[0], ",") {
		mediaType, _, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		main, sub, found := strings.Cut(mediaType, "/")
		if !found {
			continue
		}
		if main == "*" && sub == "*" ||
			main == "application" && (sub == "*" || sub == "json" || strings.HasSuffix(sub, "+json")) {
			return true
		}
	}
	return false
}

// segmentsOf splits a path, without its empty parts, and decodes each.
func segmentsOf(u *url.URL) []string {
	var segments []string
	for part := range strings.SplitSeq(u.EscapedPath(), "/") {
		if part != "" {
			segments = append(segments, unescaped(part))
		}
	}
	return segments
}
