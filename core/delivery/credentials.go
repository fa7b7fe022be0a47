package delivery

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"

	"github.com/postoffice-go/postoffice/core"
)

// credentials are those that the server must present.
type credentials struct{ user, password [sha256.Size]byte }

func newCredentials(user, password string) *credentials {
	return &credentials{sha256.Sum256([]byte(user)), sha256.Sum256([]byte(password))}
}

// present tells whether a request bears the credentials. The time it takes
// does not depend on where they differ, nor on their length. Nil credentials
// are always present.
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

// targetCredentials takes the credentials out of a consumer's target; nil if
// it has none. An error repeats nothing of the target.
func targetCredentials(consumer core.Consumer) (*credentials, error) {
	if consumer.Type != "" && consumer.Type != core.HTTP {
		return nil, errors.New("the Type is not HTTP: the server posts nothing to this app")
	}
	target, err := url.Parse(consumer.Target)
	switch {
	case err != nil:
		return nil, errors.New("the Target is no URL")
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
