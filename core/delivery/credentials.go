package delivery

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"

	"github.com/postoffice-go/postoffice/core"
)

// credentials are the credentials that the server must present.
type credentials struct{ user, password [sha256.Size]byte }

func newCredentials(user, password string) *credentials {
	return &credentials{sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))}
}

// present reports whether a request has the credentials, in constant time. Nil
// credentials match every request.
func (c *credentials) present(r *http.Request) bool {
	if c == nil {
		return true
	}
	user, password, ok := r.BasicAuth()
	given := newCredentials(user, password)
	same := subtle.ConstantTimeCompare(c.user[:], given.user[:]) &
		subtle.ConstantTimeCompare(c.password[:], given.password[:])
	return ok && same == 1
}

// targetCredentials returns the credentials in a consumer's target, or nil if it has
// none. Errors contain no part of the target.
func targetCredentials(consumer core.Consumer) (*credentials, error) {
	if consumer.Type != "" && consumer.Type != core.HTTP {
		return nil, errors.New("the Type is not HTTP: the server does not post to this app")
	}
	target, err := url.Parse(consumer.Target)
	switch {
	case err != nil:
		return nil, errors.New("the Target is not a URL")
	case target.Host == "":
		return nil, errors.New("the Target has no host")
	case target.User == nil:
		return nil, nil
	case target.User.Username() == "":
		return nil, errors.New("the Target has userinfo without a user name")
	}
	password, _ := target.User.Password()
	return newCredentials(target.User.Username(), password), nil
}
