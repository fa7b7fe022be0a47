package adaptertest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// newClientAt creates a client with a recovery path, and returns it with its
// outbox.
func newClientAt(t *testing.T, server *postofficetest.Server, path string) (*core.Client, *memory.Store) {
	t.Helper()
	store := memory.New()
	return newClient(t, server, guarded(store, "origin.test"), func(config *core.Config) {
		config.RecoveryPath = path
		config.Topics = []string{"orders"}
	}), store
}

// inEachMount runs a check with Mount in each place, and with Register.
func inEachMount(t *testing.T, adapter Adapter, check func(t *testing.T, app MountApp)) {
	t.Run("ByMount", func(t *testing.T) {
		inEachPlace(t, adapter, func(t *testing.T, prefix string) { check(t, MountApp{Prefix: prefix}) })
	})
	t.Run("ByRegister", func(t *testing.T) { check(t, MountApp{ByRegister: true}) })
}

// pathsOfTheirOwn mounts two clients in one router, together with a route of
// the app that has the same path prefix.
func pathsOfTheirOwn(t *testing.T, adapter Adapter) {
	inEachMount(t, adapter, func(t *testing.T, app MountApp) {
		server := newServer(t)
		stores := map[string]*memory.Store{}
		for _, path := range []string{"/postoffice/a/", "/postoffice/b/"} {
			client, store := newClientAt(t, server, path)
			app.Clients = append(app.Clients, client)
			stores[path] = store
		}
		app.Own = []string{"/postoffice", "/postoffice/c"}
		handler, err := adapter.Mount(app)
		require.NoError(t, err)
		served := serve(t, handler)
		for path, store := range stores {
			id := dead(t, store)
			assert.Equal(t, http.StatusNoContent, served.do(t, http.MethodDelete, app.Prefix+path+id+"/", recoveryUser()).Status, path)
			assert.Empty(t, left(t, store), path)
		}
		for _, path := range app.Own {
			assert.Equal(t, http.StatusNoContent, served.do(t, http.MethodGet, app.Prefix+path, nil).Status, path)
		}
	})
}

// taken mounts a client at a path that is taken. The error must name the path
// and the setting, and the existing route must still work.
func taken(t *testing.T, adapter Adapter) {
	const path, bare = core.DefaultRecoveryPath, "/postoffice/messages"
	inEachMount(t, adapter, func(t *testing.T, app MountApp) {
		refused := func(t *testing.T, app MountApp) *site {
			t.Helper()
			handler, err := adapter.Mount(app)
			require.ErrorIs(t, err, core.ErrInvalidConfig)
			assert.ErrorContains(t, err, path)
			assert.ErrorContains(t, err, "Config.RecoveryPath")
			return serve(t, handler)
		}
		t.Run("ByAnotherClient", func(t *testing.T) {
			app, server := app, postofficetest.Start(t)
			first, store := newClientAt(t, newServer(t), "")
			second, _ := newClientAt(t, server, "")
			app.Clients = []*core.Client{first, second}
			id := dead(t, store)
			served := refused(t, app)
			assert.Equal(t, http.StatusNoContent, served.do(t, http.MethodDelete, app.Prefix+path+id, recoveryUser()).Status)
			assert.Empty(t, left(t, store), "the message of the first client")
			assert.Empty(t, server.Topics(), "the second client is not started")
		})
		t.Run("ByTheSameClient", func(t *testing.T) {
			app := app
			client, _ := newClientAt(t, newServer(t), "")
			app.Clients = []*core.Client{client, client}
			refused(t, app)
		})
		for _, own := range []string{path, bare} {
			t.Run("ByTheApp"+own, func(t *testing.T) {
				app, server := app, postofficetest.Start(t)
				client, _ := newClientAt(t, server, "")
				app.Own, app.Clients = []string{own}, []*core.Client{client}
				served := refused(t, app)
				assert.Equal(t, http.StatusNoContent, served.do(t, http.MethodGet, app.Prefix+own, nil).Status)
				assert.Empty(t, server.Topics(), "the client is not started")
			})
		}
	})
	t.Run("ByItself", func(t *testing.T) {
		client, _ := newClientAt(t, newServer(t), "")
		client.AddRoute(core.Route{Path: path, Handler: noContent})
		_, err := adapter.Mount(MountApp{Clients: []*core.Client{client}})
		require.ErrorIs(t, err, core.ErrInvalidConfig)
		assert.ErrorContains(t, err, path)
	})
}

// nilClient mounts a nil client, as after an ignored error of NewClient.
func nilClient(t *testing.T, adapter Adapter) {
	inEachMount(t, adapter, func(t *testing.T, app MountApp) {
		app.Clients = []*core.Client{nil}
		_, err := adapter.Mount(app)
		require.ErrorIs(t, err, core.ErrInvalidConfig)
		assert.ErrorContains(t, err, "client is nil")
	})
}
