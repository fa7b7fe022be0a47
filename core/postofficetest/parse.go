package postofficetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// refusal is the status of an answer before routing.
type refusal int

// parameters returns what the real server merges before it looks at the path: the
// query string, and the body over it. Only parameters of the body can override the
// method.
func (s *Server) parameters(r *http.Request, body []byte) (all, fromBody map[string]json.RawMessage, refused refusal) {
	all, ok := parseForm(withoutBadPercent(r.URL.RawQuery))
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

// parseBody parses a body by its content type; it ignores bodies of other types.
func (s *Server) parseBody(contentType string, body []byte) (map[string]json.RawMessage, refusal) {
	main, sub, _ := mediaType(contentType)
	isJSON := main == "application" && (sub == "json" || strings.HasSuffix(sub, "+json"))
	isForm := main == "application" && sub == "x-www-form-urlencoded"
	isMultipart := main == "multipart" && (sub == "form-data" || sub == "mixed")
	switch {
	case !isJSON && !isForm && !isMultipart:
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
	case isMultipart:
		if fields, ok := parseMultipart(contentType, body); ok {
			return fields, 0
		}
		return nil, http.StatusBadRequest
	case !validJSON(body):
		return nil, http.StatusBadRequest
	}
	value := json.RawMessage(body[skip(body, 0):])
	if kindOf(value) != '{' {
		// The server keeps it under a separate key, which nothing reads.
		return nil, 0
	}
	return fieldsOf(value), 0
}

// mediaType parses the type and subtype of a Content-Type or Accept header, in lower
// case. Like the server it ignores invalid parameters; mime.ParseMediaType is
// stricter.
func mediaType(text string) (main, sub string, ok bool) {
	text, _, _ = strings.Cut(strings.ToLower(text), ";")
	main, sub, found := strings.Cut(strings.Trim(text, " \t"), "/")
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	switch {
	case !found || main == "":
	case main == "*" && sub == "*":
		return main, sub, true
	case strings.Trim(main, letters) == "" && (sub == "*" || strings.Trim(sub, letters+".+") == ""):
		return main, sub, true
	}
	return "", "", false
}

// withoutBadPercent removes the pairs of a query string that contain invalid
// percent-encoding: the server treats them as absent.
func withoutBadPercent(query string) string {
	valid := func(text string) bool {
		_, err := url.QueryUnescape(text)
		return err == nil
	}
	if valid(query) {
		return query
	}
	pairs := strings.Split(query, "&")
	return strings.Join(slices.DeleteFunc(pairs, func(pair string) bool { return !valid(pair) }), "&")
}

// form is the content of a query string or form: texts, lists and maps.
type form map[string]any

// set stores a value at the place given by its key, such as "a[b]" or "a[]". It
// returns false for a key or value that is not UTF-8, and for a key that is nested
// too deep.
func (f form) set(key, value string) bool {
	path := keyPath(key)
	if len(path) > goDepth || !utf8.ValidString(key) || !utf8.ValidString(value) {
		return false
	}
	nest(f, path, value)
	return true
}

// fields returns the values as JSON.
func (f form) fields() (map[string]json.RawMessage, bool) {
	fields := make(map[string]json.RawMessage, len(f))
	for key, value := range f {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, false
		}
		fields[key] = raw
	}
	return fields, true
}

// parseForm parses a query string or form; false if it is invalid.
func parseForm(text string) (map[string]json.RawMessage, bool) {
	read := make(form)
	for pair := range strings.SplitSeq(text, "&") {
		if pair == "" {
			continue
		}
		rawKey, rawValue, _ := strings.Cut(pair, "=")
		key, keyErr := url.QueryUnescape(rawKey)
		value, valueErr := url.QueryUnescape(rawValue)
		if keyErr != nil || valueErr != nil || !read.set(key, value) {
			return nil, false
		}
	}
	return read.fields()
}

// parseMultipart parses a multipart form without its files; false if it is invalid.
func parseMultipart(contentType string, body []byte) (map[string]json.RawMessage, bool) {
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || parameters["boundary"] == "" {
		return nil, false
	}
	read := make(form)
	parts := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return read.fields()
		}
		if err != nil {
			return nil, false
		}
		value, err := io.ReadAll(part)
		if err != nil || part.FileName() == "" && part.FormName() != "" && !read.set(part.FormName(), string(value)) {
			return nil, false
		}
	}
}

// keyPath splits "a[b][c]" into a, b and c.
func keyPath(key string) []string {
	name, rest, found := strings.Cut(key, "[")
	if !found || name == "" || !strings.HasSuffix(rest, "]") {
		return []string{key}
	}
	return append([]string{name}, strings.Split(strings.TrimSuffix(rest, "]"), "][")...)
}

// nest stores the value in the tree. An empty part of the path appends to a list:
// the value, or a new map for the rest of the path.
func nest(tree map[string]any, path []string, value string) {
	switch {
	case len(path) == 1:
		tree[path[0]] = value
	case path[1] == "":
		var item any = value
		if len(path) > 2 {
			child := make(map[string]any)
			nest(child, path[2:], value)
			item = child
		}
		list, _ := tree[path[0]].([]any)
		tree[path[0]] = append(list, item)
	default:
		child, ok := tree[path[0]].(map[string]any)
		if !ok {
			child = make(map[string]any)
			tree[path[0]] = child
		}
		nest(child, path[1:], value)
	}
}

// acceptable reports whether the request accepts a JSON answer: by the parameter
// _format or else by the first Accept header.
func acceptable(r *http.Request, parameters map[string]json.RawMessage) bool {
	if format, found := parameters["_format"]; found {
		return string(format) == `"json"`
	}
	accepts := r.Header.Values("Accept")
	if len(accepts) == 0 {
		return true
	}
	for part := range strings.SplitSeq(accepts[0], ",") {
		main, sub, ok := mediaType(part)
		if ok && (main == "*" && sub == "*" ||
			main == "application" && (sub == "*" || sub == "json" || strings.HasSuffix(sub, "+json"))) {
			return true
		}
	}
	return false
}

// segmentsOf splits a path into decoded segments, without empty ones.
func segmentsOf(u *url.URL) []string {
	var segments []string
	for part := range strings.SplitSeq(u.EscapedPath(), "/") {
		if part != "" {
			segments = append(segments, unescaped(part))
		}
	}
	return segments
}
