package adaptertest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// mountTests check the recovery endpoint where Mount puts it.
var mountTests = []test{
	{"ListAndDelete", listAndDelete},
	{"Credentials", credentials},
	{"Closed", closed},
	{"Head", head},
	{"Methods", methods},
	{"Rescue", rescue},
	{"OwnPath", ownPath},
	{"AddedRoute", addedRoute},
	{"PathsOfTheirOwn", pathsOfTheirOwn},
	{"Taken", taken},
	{"NilClient", nilClient},
}

// mount creates an app with the routes of one client.
func mount(t *testing.T, adapter Adapter, prefix string, client *core.Client) http.Handler {
	t.Helper()
	app, err := adapter.Mount(MountApp{Prefix: prefix, Clients: []*core.Client{client}})
	require.NoError(t, err)
	return app
}

// inEachPlace runs a check at the root and, if the framework has groups, below
// a prefix.
func inEachPlace(t *testing.T, adapter Adapter, check func(t *testing.T, prefix string)) {
	t.Run("AtTheRoot", func(t *testing.T) { check(t, "") })
	if !adapter.NoGroups {
		t.Run("InAGroup", func(t *testing.T) { check(t, "/group") })
	}
}

// recoveryUser is the credential of the recovery endpoint. It has characters
// that need encoding.
func recoveryUser() *url.Userinfo { return url.UserPassword("us@er", "p:ss/w%rd") }

// guarded sets an outbox, and an origin host with the credential.
func guarded(store outbox.Store, address string) func(*core.Config) {
	return func(config *core.Config) {
		origin := url.URL{Scheme: "http", Host: address, User: recoveryUser()}
		config.OriginHost = origin.String()
		config.Outbox = store
	}
}

// stored puts messages into a store and returns their ids.
func stored(t *testing.T, store outbox.Store, n int) []string {
	t.Helper()
	var ids []string
	for range n {
		id, err := uuid.NewV7()
		require.NoError(t, err)
		ids = append(ids, id.String())
		require.NoError(t, store.Insert(t.Context(), 0, outbox.Record{
			ID: id.String(), Topic: topic, Payload: json.RawMessage(`{"n":1}`), Attributes: json.RawMessage(`{}`),
		}))
	}
	return ids
}

// dead puts a message into a store that the relay does not deliver.
func dead(t *testing.T, store outbox.Store) (id string) {
	t.Helper()
	id = uuid.NewString()
	require.NoError(t, store.Insert(t.Context(), 0, outbox.Record{
		ID: id, Topic: topic, Payload: json.RawMessage(`{}`), Attributes: json.RawMessage(`{}`), State: outbox.Dead,
	}))
	return id
}

// left returns the ids of the records in a store.
func left(t *testing.T, store outbox.Store) []string {
	t.Helper()
	records, err := store.List(t.Context(), outbox.Query{})
	require.NoError(t, err)
	ids := []string{}
	for _, record := range records {
		ids = append(ids, record.ID)
	}
	return ids
}

func listAndDelete(t *testing.T, adapter Adapter) {
	inEachPlace(t, adapter, func(t *testing.T, prefix string) {
		for name, slash := range map[string]string{"WithSlash": "/", "WithoutSlash": ""} {
			t.Run(name, func(t *testing.T) {
				store := memory.New()
				client := newClient(t, newServer(t), guarded(store, "origin.test"))
				app := serve(t, mount(t, adapter, prefix, client))
				path := prefix + "/postoffice/messages"
				ids := stored(t, store, 2)

				got := app.do(t, http.MethodGet, path+slash, recoveryUser())
				require.Equal(t, http.StatusOK, got.Status, "body: %s", got.Body)
				assert.Equal(t, "application/json", got.Header.Get("Content-Type"))
				var items []struct{ ID string }
				require.NoError(t, json.Unmarshal([]byte(got.Body), &items), "body: %s", got.Body)
				require.Len(t, items, 2)
				assert.ElementsMatch(t, ids, []string{items[0].ID, items[1].ID})

				got = app.do(t, http.MethodDelete, path+"/"+ids[0]+slash, recoveryUser())
				assert.Equal(t, http.StatusNoContent, got.Status, "body: %s", got.Body)
				assert.Equal(t, ids[1:], left(t, store))
				got = app.do(t, http.MethodDelete, path+"/"+ids[0]+slash, recoveryUser())
				assert.Equal(t, http.StatusNotFound, got.Status, "deleted before")
				got = app.do(t, http.MethodDelete, path+"/foreign"+slash, recoveryUser())
				assert.Equal(t, http.StatusNotFound, got.Status, "an unknown id")
				assert.Equal(t, ids[1:], left(t, store))
			})
		}
	})
}

func credentials(t *testing.T, adapter Adapter) {
	inEachPlace(t, adapter, func(t *testing.T, prefix string) {
		store := memory.New()
		client := newClient(t, newServer(t), guarded(store, "origin.test"))
		app := serve(t, mount(t, adapter, prefix, client))
		ids := stored(t, store, 1)
		for name, user := range map[string]*url.Userinfo{
			"none":           nil,
			"wrong password": url.UserPassword("us@er", "password"),
			"wrong user":     url.UserPassword("user", "p:ss/w%rd"),
		} {
			list := app.do(t, http.MethodGet, prefix+core.DefaultRecoveryPath, user)
			assert.Equal(t, http.StatusUnauthorized, list.Status, name)
			assert.Contains(t, list.Header.Get("WWW-Authenticate"), "Basic", name)
			remove := app.do(t, http.MethodDelete, prefix+core.DefaultRecoveryPath+ids[0]+"/", user)
			assert.Equal(t, http.StatusUnauthorized, remove.Status, name)
		}
		assert.Equal(t, ids, left(t, store))
	})
}

func closed(t *testing.T, adapter Adapter) {
	inEachPlace(t, adapter, func(t *testing.T, prefix string) {
		store := memory.New()
		client := newClient(t, newServer(t), func(config *core.Config) {
			config.OriginHost = "http://origin.test"
			config.Outbox = store
		})
		app := serve(t, mount(t, adapter, prefix, client))
		ids := stored(t, store, 1)
		got := app.do(t, http.MethodGet, prefix+core.DefaultRecoveryPath, recoveryUser())
		assert.Equal(t, http.StatusForbidden, got.Status)
		got = app.do(t, http.MethodDelete, prefix+core.DefaultRecoveryPath+ids[0]+"/", recoveryUser())
		assert.Equal(t, http.StatusForbidden, got.Status)
		assert.Equal(t, ids, left(t, store))
	})
}

// head requests the list with HEAD, which claims nothing: a later GET returns
// it.
func head(t *testing.T, adapter Adapter) {
	inEachPlace(t, adapter, func(t *testing.T, prefix string) {
		store := memory.New()
		client := newClient(t, newServer(t), guarded(store, "origin.test"))
		app := serve(t, mount(t, adapter, prefix, client))
		ids := stored(t, store, 1)
		for _, path := range []string{"/postoffice/messages", core.DefaultRecoveryPath} {
			got := app.do(t, http.MethodHead, prefix+path, recoveryUser())
			assert.Equal(t, http.StatusOK, got.Status, path)
			assert.Equal(t, "application/json", got.Header.Get("Content-Type"), path)
			assert.Equal(t, http.StatusUnauthorized, app.do(t, http.MethodHead, prefix+path, nil).Status, path)
		}
		got := app.do(t, http.MethodGet, prefix+core.DefaultRecoveryPath, recoveryUser())
		assert.Contains(t, got.Body, ids[0])
	})
}

// methods checks that the client's handler rejects methods: the framework would
// respond with 405 without checking the credentials.
func methods(t *testing.T, adapter Adapter) {
	inEachPlace(t, adapter, func(t *testing.T, prefix string) {
		client := newClient(t, newServer(t), guarded(memory.New(), "origin.test"))
		app := serve(t, mount(t, adapter, prefix, client))
		id := core.DefaultRecoveryPath + "0190163d-8694-739b-aea5-966c26f8ad91"
		const list = http.MethodGet + ", " + http.MethodHead
		for path, allowed := range map[string]string{
			"/postoffice/messages":   list,
			core.DefaultRecoveryPath: list,
			id:                       http.MethodDelete,
			id + "/":                 http.MethodDelete,
		} {
			for _, method := range []string{
				http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
				http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace,
			} {
				if slices.Contains(strings.Split(allowed, ", "), method) {
					continue
				}
				got := app.do(t, method, prefix+path, recoveryUser())
				assert.Equal(t, http.StatusMethodNotAllowed, got.Status, "%s %s", method, path)
				assert.Equal(t, allowed, got.Header.Get("Allow"), "%s %s", method, path)
				got = app.do(t, method, prefix+path, nil)
				assert.Equal(t, http.StatusUnauthorized, got.Status, "%s %s without credentials", method, path)
			}
		}
	})
}

// rescue makes the fake server's rescuer fetch the outbox from the address that
// Setup has registered.
func rescue(t *testing.T, adapter Adapter) {
	inEachPlace(t, adapter, func(t *testing.T, prefix string) {
		server := postofficetest.Start(t)
		store := memory.New()
		listening := httptest.NewUnstartedServer(nil)
		client := newClient(t, server, guarded(store, listening.Listener.Addr().String()), func(config *core.Config) {
			config.OriginHost += prefix
			config.Topics = []string{topic}
			config.RecoveryEnabled = true
		})
		_, err := client.Setup(t.Context())
		require.NoError(t, err)
		listening.Config.Handler = mount(t, adapter, prefix, client)
		start(t, listening)
		stored(t, store, 3)

		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		runs := server.RunRescuer(ctx)
		require.Len(t, runs, 1)
		assert.Empty(t, runs[0].Errors)
		assert.Equal(t, 3, runs[0].Published)
		assert.Len(t, server.MessagesOf(topic), 3)
		assert.Empty(t, left(t, store), "recovered messages are not in the outbox")
	})
}

// addedRoute checks that Mount serves a route that the app has added to the
// client, and all paths below it.
func addedRoute(t *testing.T, adapter Adapter) {
	inEachPlace(t, adapter, func(t *testing.T, prefix string) {
		client := newClient(t, newServer(t), guarded(memory.New(), "origin.test"))
		client.AddRoute(core.Route{Path: "/added/", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusTeapot)
		})})
		app := serve(t, mount(t, adapter, prefix, client))
		for _, path := range []string{"/added", "/added/", "/added/below/it"} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				assert.Equal(t, http.StatusTeapot, app.do(t, method, prefix+path, nil).Status, "%s %s", method, path)
			}
		}
		got := app.do(t, http.MethodGet, prefix+core.DefaultRecoveryPath, recoveryUser())
		assert.Equal(t, http.StatusOK, got.Status, "the recovery endpoint is also served")
	})
}

// ownPath mounts the recovery endpoint at a path other than the default.
func ownPath(t *testing.T, adapter Adapter) {
	inEachPlace(t, adapter, func(t *testing.T, prefix string) {
		store := memory.New()
		client := newClient(t, newServer(t), guarded(store, "origin.test"), func(config *core.Config) {
			config.RecoveryPath = "/lost-and-found"
		})
		app := serve(t, mount(t, adapter, prefix, client))
		ids := stored(t, store, 1)
		for _, path := range []string{"/lost-and-found", "/lost-and-found/"} {
			got := app.do(t, http.MethodGet, prefix+path, recoveryUser())
			assert.Equal(t, http.StatusOK, got.Status, path)
		}
		got := app.do(t, http.MethodDelete, prefix+"/lost-and-found/"+ids[0]+"/", recoveryUser())
		assert.Equal(t, http.StatusNoContent, got.Status)
		got = app.do(t, http.MethodGet, prefix+core.DefaultRecoveryPath, recoveryUser())
		assert.Equal(t, http.StatusNotFound, got.Status, "nothing at the default path")
	})
}
