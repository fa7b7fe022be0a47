package orms_test

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
	"github.com/postoffice-go/postoffice/examples/orms"
	"github.com/postoffice-go/postoffice/examples/orms/ent"
)

//go:embed sqlc/schema.sql
var createOrders string

// shop is a database with the table of orders and an outbox, and a client of it
// that is not started, so that messages stay in the outbox.
type shop struct {
	db     *sql.DB
	pool   *pgxpool.Pool // of PostgreSQL
	client *core.Client
}

func (s *shop) open(t *testing.T, name sqlstore.Dialect) {
	t.Helper()
	switch name {
	case sqlstore.Postgres:
		var err error
		s.pool, err = pgxpool.New(t.Context(), newDatabase(t))
		require.NoError(t, err)
		t.Cleanup(s.pool.Close)
		s.db = stdlib.OpenDBFromPool(s.pool)
	default:
		var err error
		s.db, err = sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(t.TempDir(), "shop.db"))+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
		require.NoError(t, err)
	}
	t.Cleanup(func() { require.NoError(t, s.db.Close()) })
	_, err := s.db.ExecContext(t.Context(), createOrders)
	require.NoError(t, err)
	require.NoError(t, sqlstore.Migrate(t.Context(), s.db, name))
	store, err := sqlstore.New(s.db, name)
	require.NoError(t, err)
	s.client, err = core.NewClient(core.Config{URL: "http://127.0.0.1:1", Outbox: store, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.client.Stop(context.WithoutCancel(t.Context()))) })
}

// orders returns the numbers of the stored orders.
func (s *shop) orders(t *testing.T) []int64 {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), "SELECT number FROM orders ORDER BY number")
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var numbers []int64
	for rows.Next() {
		var number int64
		require.NoError(t, rows.Scan(&number))
		numbers = append(numbers, number)
	}
	require.NoError(t, rows.Err())
	return numbers
}

// messages returns the payloads in the outbox.
func (s *shop) messages(t *testing.T) []string {
	t.Helper()
	entries, err := s.client.Outbox().List(t.Context(), outbox.Query{})
	require.NoError(t, err)
	var payloads []string
	for _, entry := range entries {
		payloads = append(payloads, string(entry.Payload))
	}
	return payloads
}

// library is what a test calls of one library.
type library struct {
	place    func(ctx context.Context, o orms.Order) error
	withGift func(ctx context.Context, o, gift orms.Order) error
}

// libraries returns the libraries of a database.
func libraries(t *testing.T, s *shop, name sqlstore.Dialect) map[string]library {
	t.Helper()
	onPostgres := name == sqlstore.Postgres
	gormOf := func(config gorm.Config) *gorm.DB {
		dialector := sqlite.New(sqlite.Config{Conn: s.db})
		if onPostgres {
			dialector = postgres.New(postgres.Config{Conn: s.db})
		}
		config.Logger = logger.Discard
		db, err := gorm.Open(dialector, &config)
		require.NoError(t, err)
		return db
	}
	plain, prepared := gormOf(gorm.Config{}), gormOf(gorm.Config{PrepareStmt: true})
	sqlxName, entName, bunDB := "sqlite", dialect.SQLite, bun.NewDB(s.db, sqlitedialect.New())
	if onPostgres {
		sqlxName, entName, bunDB = "pgx", dialect.Postgres, bun.NewDB(s.db, pgdialect.New())
	}
	sqlxDB := sqlx.NewDb(s.db, sqlxName)
	entDB := ent.NewClient(ent.Driver(entsql.OpenDB(entName, s.db)))
	all := map[string]library{
		"database/sql": {
			func(ctx context.Context, o orms.Order) error { return orms.PlaceSQL(ctx, s.db, s.client, o) },
			func(ctx context.Context, o, gift orms.Order) error {
				return orms.PlaceSQLWithGift(ctx, s.db, s.client, o, gift)
			},
		},
		"sqlx": {
			func(ctx context.Context, o orms.Order) error { return orms.PlaceSqlx(ctx, sqlxDB, s.client, o) },
			func(ctx context.Context, o, gift orms.Order) error {
				return orms.PlaceSqlxWithGift(ctx, sqlxDB, s.client, o, gift)
			},
		},
		"sqlc": {
			func(ctx context.Context, o orms.Order) error { return orms.PlaceSqlc(ctx, s.db, s.client, o) },
			func(ctx context.Context, o, gift orms.Order) error {
				return orms.PlaceSqlcWithGift(ctx, s.db, s.client, o, gift)
			},
		},
		"GORM": {
			func(ctx context.Context, o orms.Order) error { return orms.PlaceGORM(ctx, plain, s.client, o) },
			func(ctx context.Context, o, gift orms.Order) error {
				return orms.PlaceGORMWithGift(ctx, plain, s.client, o, gift)
			},
		},
		"GORM with PrepareStmt": {
			func(ctx context.Context, o orms.Order) error { return orms.PlaceGORM(ctx, prepared, s.client, o) },
			func(ctx context.Context, o, gift orms.Order) error {
				return orms.PlaceGORMWithGift(ctx, prepared, s.client, o, gift)
			},
		},
		"bun": {
			func(ctx context.Context, o orms.Order) error { return orms.PlaceBun(ctx, bunDB, s.client, o) },
			func(ctx context.Context, o, gift orms.Order) error {
				return orms.PlaceBunWithGift(ctx, bunDB, s.client, o, gift)
			},
		},
		"ent": {
			func(ctx context.Context, o orms.Order) error { return orms.PlaceEnt(ctx, entDB, s.client, o) },
			func(ctx context.Context, o, gift orms.Order) error {
				return orms.PlaceEntWithGift(ctx, entDB, s.client, o, gift)
			},
		},
	}
	if onPostgres {
		all["pgx"] = library{
			func(ctx context.Context, o orms.Order) error { return orms.PlacePgx(ctx, s.pool, s.client, o) },
			func(ctx context.Context, o, gift orms.Order) error {
				return orms.PlacePgxWithGift(ctx, s.pool, s.client, o, gift)
			},
		}
	}
	return all
}

// each runs a test on each database.
func each(t *testing.T, test func(t *testing.T, s *shop, name sqlstore.Dialect)) {
	t.Helper()
	for _, name := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.Postgres} {
		t.Run(fmt.Sprint(name), func(t *testing.T) {
			var s shop
			s.open(t, name)
			test(t, &s, name)
		})
	}
}

// eachLibrary runs a test with each library on each database.
func eachLibrary(t *testing.T, test func(t *testing.T, s *shop, library library)) {
	t.Helper()
	each(t, func(t *testing.T, s *shop, name sqlstore.Dialect) {
		for of, library := range libraries(t, s, name) {
			t.Run(of, func(t *testing.T) {
				_, err := s.db.ExecContext(t.Context(), "DELETE FROM orders")
				require.NoError(t, err)
				_, err = s.client.Outbox().Discard(t.Context(), outbox.Selection{All: true})
				require.NoError(t, err)
				test(t, s, library)
			})
		}
	})
}

func order(number int64, item string) orms.Order { return orms.Order{Number: number, Item: item} }

const (
	teapot1 = `{"number":1,"item":"it's a $1 ? teapot"}`
	spoon2  = `{"number":2,"item":"spoon"}`
)

func TestPlace(t *testing.T) {
	eachLibrary(t, func(t *testing.T, s *shop, library library) {
		require.ErrorIs(t, library.place(t.Context(), order(1, "unicorn")), orms.ErrSoldOut)
		assert.Empty(t, s.orders(t))
		assert.Empty(t, s.messages(t))

		require.NoError(t, library.place(t.Context(), order(1, "it's a $1 ? teapot")))
		assert.Equal(t, []int64{1}, s.orders(t))
		assert.Equal(t, []string{teapot1}, s.messages(t))

		require.Error(t, library.place(t.Context(), order(1, "another")), "the number is taken")
		assert.Equal(t, []string{teapot1}, s.messages(t))
	})
}

func TestPlaceWithGift(t *testing.T) {
	eachLibrary(t, func(t *testing.T, s *shop, library library) {
		require.ErrorIs(t, library.withGift(t.Context(), order(1, "unicorn"), order(2, "spoon")), orms.ErrSoldOut)
		assert.Empty(t, s.orders(t))
		assert.Empty(t, s.messages(t))

		require.NoError(t, library.withGift(t.Context(), order(1, "it's a $1 ? teapot"), order(2, "unicorn")))
		assert.Equal(t, []int64{1}, s.orders(t))
		assert.Equal(t, []string{teapot1}, s.messages(t))

		require.Error(t, library.withGift(t.Context(), order(3, "cup"), order(1, "another")), "the number of the gift is taken")
		assert.Equal(t, []int64{1}, s.orders(t))
		assert.Equal(t, []string{teapot1}, s.messages(t))

		_, err := s.db.ExecContext(t.Context(), "DELETE FROM orders")
		require.NoError(t, err)
		require.NoError(t, library.withGift(t.Context(), order(1, "cup"), order(2, "spoon")))
		assert.Equal(t, []int64{1, 2}, s.orders(t))
		assert.Equal(t, []string{teapot1, spoon2}, s.messages(t), "the outbox has a message of the first order already")
	})
}
